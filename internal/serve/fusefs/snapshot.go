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

// maxSnapshots bounds how many opens of one snapshotNode there may be. Each holds some
// 50 KiB.
const maxSnapshots = 64

// snapshotNode is .wcfs/metrics or .wcfs/clients. Every open of it has the figures of the
// moment of the open, so that they fit together however they are read.
type snapshotNode struct {
	fs.Inode
	readOnlyFile
	tree *FS
	name string
	text func() ([]byte, error)
	step int  // sizes are multiples of that, if it is not 0
	own  bool // it tells about other processes

	last atomic.Int64 // size of the last snapshot
	open atomic.Int64
}

// attr tells the size of the last snapshot. It is a hint where the sizes seldom differ, and
// must cost nothing there but once.
func (n *snapshotNode) attr(out *fuse.Attr) time.Duration {
	if n.step == 0 || n.last.Load() == 0 {
		_, _ = n.snapshot()
	}
	if n.own {
		n.tree.access.own(out, fuse.S_IFREG)
	} else {
		n.tree.access.file(out)
	}
	out.Size = uint64(n.last.Load())
	return changing
}

func (n *snapshotNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	errno := getattr(n, out)
	if snapshot, ok := fh.(*snapshotHandle); ok {
		out.Size = uint64(len(snapshot.content))
	}
	return errno
}

func (n *snapshotNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
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
		glog.Errorf("/.wcfs/%s: open: %s", n.name, err)
		return nil, 0, syscall.EIO
	}
	return &snapshotHandle{n, text}, fuse.FOPEN_DIRECT_IO, 0
}

// snapshot returns the figures as they are now.
func (n *snapshotNode) snapshot() ([]byte, error) {
	text, err := n.text()
	if err != nil {
		return nil, err
	}
	if n.step > 0 {
		text = padded(text, n.step)
	}
	n.last.Store(int64(len(text)))
	return text, nil
}

// metricsStep is what sizes of the metrics are multiples of. So they seldom differ, as
// programs that copy files expect: tar(1) complains of one that is not what stat told.
const metricsStep = 16 << 10

// padded makes text longer by a comment.
func padded(text []byte, step int) []byte {
	const comment = "# \n"
	gap := step - (len(text)+len(comment))%step
	return append(append(append(text, comment[:2]...), bytes.Repeat([]byte{' '}, gap%step)...), comment[2:]...)
}

// snapshotHandle is one open of a snapshotNode.
type snapshotHandle struct {
	node    *snapshotNode
	content []byte
}

func (h *snapshotHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(clamp(h.content, len(dest), off)), 0
}

func (h *snapshotHandle) Release(ctx context.Context) syscall.Errno {
	h.node.open.Add(-1)
	return 0
}
