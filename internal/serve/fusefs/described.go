package fusefs

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// describedNode is NAME.json: the facts about an array or a file. Every open of it has those
// of the view of that moment.
type describedNode struct {
	fs.Inode
	readOnlyFile
	view arraysView
	item string // path below arrays/, without the ending
}

// describe returns the content as of now.
func (n *describedNode) describe(ctx context.Context) ([]byte, error) {
	n.view.touch()
	longer, cancel := n.view.tree.patient(ctx)
	defer cancel()
	text, err := n.view.tree.opt.Naming.Describe(longer, n.view.at(), n.item)
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", n.view.path(n.item), jsonEnding, err)
	}
	return text, nil
}

func (n *describedNode) attr(out *fuse.Attr) time.Duration {
	text, _ := n.describe(n.view.tree.ctx) // an error is for who opens it
	n.fill(out, text)
	return changing
}

func (n *describedNode) fill(out *fuse.Attr, text []byte) {
	n.view.tree.access.file(out)
	out.Size = uint64(len(text))
	setTime(out, n.view.at())
}

func (n *describedNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if open, ok := fh.(*describedHandle); ok {
		n.fill(&out.Attr, open.text)
		out.SetTimeout(changing)
		finish(&out.Attr)
		return 0
	}
	return getattr(n, out)
}

func (n *describedNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if writing(flags) {
		return nil, 0, syscall.EROFS
	}
	text, err := n.describe(ctx)
	if err != nil {
		return nil, 0, n.view.tree.errno(err)
	}
	return &describedHandle{text}, fuse.FOPEN_DIRECT_IO, 0
}

// describedHandle is one open of NAME.json.
type describedHandle struct{ text []byte }

func (h *describedHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(clamp(h.text, len(dest), off)), 0
}
