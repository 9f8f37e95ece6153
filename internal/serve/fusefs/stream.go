package fusefs

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// streamFlags make an open file a stream. Without FOPEN_STREAM a blocked read would
// also block everything else on the same descriptor.
const streamFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_STREAM | fuse.FOPEN_NONSEEKABLE

// stream tells what happens from when it is opened on.
type stream interface {
	// Read waits for something to tell, and returns io.EOF at the end.
	Read(ctx context.Context, dest []byte) (int, error)

	// Close is called once, when nobody can read any more.
	Close()
}

// streamNode is a file of which every open is a stream of its own. It is not listed.
type streamNode struct {
	fs.Inode
	readOnlyFile
	tree *FS
	open func() stream
}

func (n *streamNode) attr(out *fuse.Attr) time.Duration {
	n.tree.access.own(out, fuse.S_IFREG)
	return 0
}

func (n *streamNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

func (n *streamNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if writing(flags) {
		return nil, 0, syscall.EROFS
	}
	return &streamHandle{n.open()}, streamFlags, 0
}

// streamHandle is one open of a streamNode.
type streamHandle struct{ stream stream }

func (h *streamHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := h.stream.Read(ctx, dest)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, syscall.EINTR
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (h *streamHandle) Release(ctx context.Context) syscall.Errno {
	h.stream.Close()
	return 0
}
