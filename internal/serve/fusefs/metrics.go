package fusefs

import (
	"bytes"
	"context"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/golang/glog"
	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// maxSnapshots bounds how many opens of .wcfs/metrics there may be. Each holds some
// 50 KiB.
const maxSnapshots = 64

// metricsNode is .wcfs/metrics. Every open of it has the figures of the moment of
// the open, so that they fit together however they are read.
type metricsNode struct {
	fs.Inode
	readOnlyFile
	tree *FS
	text func() ([]byte, error)

	last atomic.Int64 // size of the last snapshot
	open atomic.Int64
}

// attr tells the size of the last snapshot: it is a hint, and must cost nothing but
// once.
func (n *metricsNode) attr(out *fuse.Attr) time.Duration {
	if n.last.Load() == 0 {
		_, _ = n.snapshot()
	}
	n.tree.access.file(out)
	out.Size = uint64(n.last.Load())
	return changing
}

func (n *metricsNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	errno := getattr(n, out)
	if snapshot, ok := fh.(*metricsHandle); ok {
		out.Size = uint64(len(snapshot.content))
	}
	return errno
}

func (n *metricsNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if writing(flags) {
		return nil, 0, syscall.EROFS
	}
	if n.open.Add(1) > maxSnapshots {
		n.open.Add(-1)
		return nil, 0, syscall.EMFILE
	}
	text, err := n.snapshot()
	if err != nil {
		n.open.Add(-1)
		glog.Errorf("/.wcfs/metrics: open: %s", err)
		return nil, 0, syscall.EIO
	}
	return &metricsHandle{n, text}, fuse.FOPEN_DIRECT_IO, 0
}

// snapshot returns the figures as they are now.
func (n *metricsNode) snapshot() ([]byte, error) {
	text, err := n.text()
	if err != nil {
		return nil, err
	}
	text = padded(text)
	n.last.Store(int64(len(text)))
	return text, nil
}

// sizeStep is what sizes of snapshots are multiples of. So they seldom differ, as
// programs that copy files expect: tar(1) complains of one that is not what stat told.
const sizeStep = 16 << 10

// padded makes text longer by a comment.
func padded(text []byte) []byte {
	const comment = "# \n"
	gap := sizeStep - (len(text)+len(comment))%sizeStep
	return append(append(append(text, comment[:2]...), bytes.Repeat([]byte{' '}, gap%sizeStep)...), comment[2:]...)
}

// metricsHandle is one open of .wcfs/metrics.
type metricsHandle struct {
	node    *metricsNode
	content []byte
}

func (h *metricsHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(clamp(h.content, len(dest), off)), 0
}

func (h *metricsHandle) Release(ctx context.Context) syscall.Errno {
	h.node.open.Add(-1)
	return 0
}
