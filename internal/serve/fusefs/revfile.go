package fusefs

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/past"
	"github.com/wcfs/wcfs/internal/serve/observe"
)

const (
	// openPatience is how long OPEN waits for stores into the page cache. The
	// most that can be preserved takes a fraction of it.
	openPatience = time.Second

	// tellPatience is how long a store holds up those into other files.
	tellPatience = 100 * time.Millisecond
)

// revFileNode is a ZBigFile, or an array, as of a past view.
type revFileNode struct {
	fs.Inode
	readOnlyFile
	rev    *revNode
	file   *past.File
	path   string // from the root of the mount, for messages
	before int64  // bytes of the header of an array, which the data stands behind
}

func (n *revFileNode) attr(out *fuse.Attr) time.Duration {
	n.rev.tree.access.file(out)
	out.Size = uint64(n.before + n.file.Size())
	out.Blksize = uint32(n.file.BlkSize())
	setTime(out, n.file.Rev())
	return 0
}

func (n *revFileNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// Open puts what is preserved of the file into its page cache: whoever opens it
// now is likely to be a client that needs just that.
func (n *revFileNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if writing(flags) {
		return nil, 0, syscall.EROFS
	}
	n.rev.touch()
	n.file.StoreKept(n.rev.tree.ctx, n, openPatience)
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// StorePreserved puts what is preserved of file oid with revision rev into the
// page cache of the view at rev, if the kernel knows the file there.
func (t *FS) StorePreserved(oid zodb.Oid, rev zodb.Tid) {
	view := t.root.GetChild("@" + rev.String())
	if view == nil {
		return
	}
	dir := view.GetChild(bigfileName)
	if dir == nil {
		return
	}
	if file := dir.GetChild(oid.String()); file != nil {
		n := file.Operations().(*revFileNode)
		n.file.StoreKept(t.ctx, n, tellPatience)
	}
}

func (n *revFileNode) Read(ctx context.Context, fh fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.rev.touch()
	off, _ = untag(off)
	reply, err := n.file.Read(n.rev.tree.ctx, n, off-n.before, len(dest))
	if err != nil {
		return nil, n.rev.tree.errno(fmt.Errorf("%s: %w", n.path, err))
	}
	n.rev.tree.opt.Observer.ReadBytes(observe.RevView, reply.Size())
	return readResult{reply}, 0
}

// Store puts data into the page cache of the file.
func (n *revFileNode) Store(off int64, data []byte) error {
	if e := n.WriteCache(n.before+off, data); e != 0 {
		return fmt.Errorf("%s: store [%d +%d): %w", n.path, off, len(data), e)
	}
	return nil
}
