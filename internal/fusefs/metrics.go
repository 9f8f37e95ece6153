package fusefs

import (
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
	text func() ([]byte, error)

	last atomic.Int64 // size of the last snapshot
	open atomic.Int64
}

// attr tells the size of the last snapshot: it is a hint, and must cost nothing.
func (n *metricsNode) attr(out *fuse.Attr) time.Duration {
	out.Mode = fuse.S_IFREG | 0o644
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
	text, err := n.text()
	if err != nil {
		n.open.Add(-1)
		glog.Errorf("/.wcfs/metrics: open: %s", err)
		return nil, 0, syscall.EIO
	}
	n.last.Store(int64(len(text)))
	return &metricsHandle{n, text}, fuse.FOPEN_DIRECT_IO, 0
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
