package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/core/isolation"
	"github.com/wcfs/wcfs/internal/serve/proc"
)

// watchNode is head/watch: every open of it is a link of the isolation protocol.
type watchNode struct {
	fs.Inode
	readOnlyFile
	tree *FS
}

func (n *watchNode) attr(out *fuse.Attr) time.Duration {
	n.tree.access.link(out)
	return 0
}

func (n *watchNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// Open makes a link for whoever may say something on it. A reader does not know
// the protocol, but walks over all files, and finds nothing.
//
// It finds out now which process it is that may have to be ended: later the thread
// that asks may be gone, and its number somebody else's.
func (n *watchNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE == syscall.O_RDONLY {
		return emptyHandle{}, streamFlags, 0
	}
	link, err := n.tree.opt.Isolation.Open(func() (isolation.Process, error) { return client(caller(ctx)) })
	if err != nil {
		return nil, 0, n.tree.errno(fmt.Errorf("/head/watch: open: %w", err))
	}
	return &watchHandle{link}, streamFlags, 0
}

// client holds on to the process of thread id, which must be one that can be ended:
// everybody waits for a client, for good if it does not answer.
func client(id int) (isolation.Process, error) {
	proc, err := proc.OfThread(id)
	if err != nil {
		// An errno of its own would not tell that it is about the client.
		return nil, fmt.Errorf("the client is not to be found: %s", err)
	}
	if err := proc.Signal(0); errors.Is(err, syscall.EPERM) {
		proc.Close()
		return nil, fmt.Errorf("pid%d: %w", proc.Pid(), errNotOurs)
	}
	return proc, nil
}

// emptyHandle is an open file in which there is nothing.
type emptyHandle struct{}

func (emptyHandle) Read(context.Context, []byte, int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(nil), 0
}

// watchHandle is one open of head/watch.
type watchHandle struct{ link *isolation.Link }

// Read waits for something to read.
func (h *watchHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := h.link.Read(ctx, dest)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, syscall.EINTR
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Write must return at once: the kernel holds the lock of the inode meanwhile
// (fuse_direct_write_iter of Linux), which all clients need to write.
func (h *watchHandle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if err := h.link.Write(data); err != nil {
		return 0, syscall.ECONNRESET
	}
	return uint32(len(data)), 0
}

// Release is called after the last close.
func (h *watchHandle) Release(ctx context.Context) syscall.Errno {
	h.link.Release()
	return 0
}
