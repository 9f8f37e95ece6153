package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/head"
)

// debugNode is .wcfs/debug/.
type debugNode struct {
	fs.Inode
	readOnlyDir
	tree *FS
}

func (n *debugNode) OnAdd(ctx context.Context) {
	addStatic(ctx, &n.Inode, "zhead", &zheadNode{tree: n.tree}, fuse.S_IFREG)
}

func (n *debugNode) attr(out *fuse.Attr) time.Duration {
	out.Mode = fuse.S_IFDIR | 0o755
	return 0
}

func (n *debugNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

func (n *debugNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return lookupStatic(&n.Inode, name, out)
}

// zheadNode is .wcfs/debug/zhead: whoever has it open reads a line for every
// transaction that is published after the open.
type zheadNode struct {
	fs.Inode
	readOnlyFile
	tree *FS
}

func (n *zheadNode) attr(out *fuse.Attr) time.Duration {
	out.Mode = fuse.S_IFREG | 0o644
	return 0
}

func (n *zheadNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// Open makes a stream. Without FOPEN_STREAM a blocked read would also block
// everything else on the same descriptor.
func (n *zheadNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if writing(flags) {
		return nil, 0, syscall.EROFS
	}
	const stream = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_STREAM | fuse.FOPEN_NONSEEKABLE
	return &zheadHandle{sub: n.tree.opt.Head.Subscribe()}, stream, 0
}

// zheadHandle is one open of zhead.
type zheadHandle struct {
	sub *head.Subscription

	mu   sync.Mutex // one reader at a time; guards rest
	rest []byte     // of the line that did not fit into the last READ
}

// Read waits for the next transaction.
func (h *zheadHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.rest) == 0 {
		tid, err := h.sub.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return fuse.ReadResultData(nil), 0
		case err != nil:
			return nil, syscall.EINTR
		}
		h.rest = fmt.Appendf(nil, "%s\n", tid)
	}
	n := copy(dest, h.rest)
	h.rest = h.rest[n:]
	return fuse.ReadResultData(dest[:n]), 0
}

func (h *zheadHandle) Release(ctx context.Context) syscall.Errno {
	h.sub.Cancel()
	return 0
}
