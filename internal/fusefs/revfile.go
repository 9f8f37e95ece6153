package fusefs

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/bigfile"
	"github.com/wcfs/wcfs/internal/observe"
	"github.com/wcfs/wcfs/internal/rev"
)

// revFileNode is a ZBigFile as of a past view.
type revFileNode struct {
	fs.Inode
	readOnlyFile
	rev  *revNode
	file *rev.File
	path string // from the root of the mount, for messages

	stored atomic.Uint64 // what was preserved up to here is in the page cache
}

func (n *revFileNode) attr(out *fuse.Attr) time.Duration {
	out.Mode = fuse.S_IFREG | 0o444
	out.Size = uint64(n.file.Size())
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
	n.storePreserved(ctx)
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// StorePreserved puts what was preserved of file oid since it was opened into the
// page cache of those past views that the kernel knows.
func (t *FS) StorePreserved(oid zodb.Oid) {
	for _, child := range t.root.Children() {
		view, ok := child.Operations().(*revNode)
		if !ok {
			continue
		}
		dir := view.GetChild("bigfile")
		if dir == nil {
			continue
		}
		if file := dir.GetChild(oid.String()); file != nil {
			file.Operations().(*revFileNode).storePreserved(t.ctx)
		}
	}
}

func (n *revFileNode) storePreserved(ctx context.Context) {
	seq := n.stored.Load()
	blocks, next := n.rev.tree.opt.Head.Preserved().Newer(ctx, n.file.Oid(), n.file.At(), seq)
	blksize := n.file.BlkSize()
	for blk, buf := range blocks {
		if (blk*blksize|blksize)%int64(os.Getpagesize()) == 0 && (blk+1)*blksize <= n.file.Size() {
			_ = bigfile.StoreBlock(n, blk*blksize, buf.Data, 0, blksize) // if not, it is read from memory
		}
		buf.Release()
	}
	n.stored.CompareAndSwap(seq, next)
}

func (n *revFileNode) Read(ctx context.Context, fh fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.rev.touch()
	off, _ = untag(off)
	reply, err := n.file.Read(n.rev.tree.ctx, n, off, len(dest))
	if err != nil {
		return nil, n.rev.tree.errno(fmt.Errorf("%s: %w", n.path, err))
	}
	n.rev.tree.opt.Observer.ReadBytes(observe.RevView, reply.Size())
	return readResult{reply}, 0
}

// Store puts data into the page cache of the file.
func (n *revFileNode) Store(off int64, data []byte) error {
	if e := n.WriteCache(off, data); e != 0 {
		return fmt.Errorf("%s: store [%d +%d): %w", n.path, off, len(data), e)
	}
	return nil
}
