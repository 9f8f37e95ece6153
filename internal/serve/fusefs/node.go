package fusefs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// changing is the validity of attributes that must be asked for every time.
// The FUSE library takes zero for "not set".
const changing = time.Nanosecond

// inode is a node that can tell its attributes without asking anybody.
type inode interface {
	fs.InodeEmbedder
	// attr fills in what is not the default and returns how long that is
	// valid; 0 for as long as nobody invalidates it.
	attr(out *fuse.Attr) (valid time.Duration)
}

// getattr answers GETATTR for n.
func getattr(n inode, out *fuse.AttrOut) syscall.Errno {
	if valid := n.attr(&out.Attr); valid != 0 {
		out.SetTimeout(valid)
	}
	finish(&out.Attr)
	return 0
}

// finish fills in what is the same for all nodes. A file takes the blocks that it has
// bytes for: programs take a file with fewer for one with holes, and may skip all of it.
func finish(out *fuse.Attr) {
	out.Nlink = 1
	out.Blocks = (out.Size + sectorSize - 1) / sectorSize
}

// sectorSize is the unit of st_blocks: see inode(7).
const sectorSize = 512

// entry answers LOOKUP with child, which is n or what n stands for.
func entry(child *fs.Inode, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n := child.Operations().(inode)
	if valid := n.attr(&out.Attr); valid != 0 {
		out.SetAttrTimeout(valid)
	}
	finish(&out.Attr)
	return child, 0
}

// lookupStatic answers LOOKUP among the children that are always there.
func lookupStatic(dir *fs.Inode, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	child := dir.GetChild(name)
	if child == nil {
		return nil, syscall.ENOENT
	}
	return entry(child, out)
}

// addStatic gives dir a child that is always there.
func (t *FS) addStatic(ctx context.Context, dir *fs.Inode, name string, n inode, kind uint32) {
	dir.AddChild(name, dir.NewPersistentInode(ctx, n, t.numbered(dir, name, kind)), false)
}

// patience is how long a lookup goes on after it was interrupted. Programs do
// not expect EINTR of open, and get signals all the time; but a killed process
// must not hang for as long as the storage does.
const patience = time.Second

// patient returns a context that ends some time after ctx does.
func (t *FS) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(t.ctx)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(patience, cancel) })
	return longer, func() {
		stop()
		cancel()
	}
}

// caller returns the id of the thread that makes a request, 0 if the kernel
// does not tell.
func caller(ctx context.Context) int {
	if c, ok := fuse.FromContext(ctx); ok {
		return int(c.Pid)
	}
	return 0
}

// setTime sets mtime and ctime to the commit time of tid.
func setTime(out *fuse.Attr, tid zodb.Tid) {
	t := storage.TimeOf(tid)
	out.SetTimes(nil, &t, &t)
}
