package fusefs

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/rev"
)

// revNode is @<tid>/, a view that never changes.
type revNode struct {
	fs.Inode
	readOnlyDir
	tree *FS
	view *rev.View
	used atomic.Int64 // when it was used last, by time.Time.UnixNano
}

// touch notes that the view is used now.
func (n *revNode) touch() { n.used.Store(time.Now().UnixNano()) }

func (n *revNode) attr(out *fuse.Attr) time.Duration {
	out.Mode = fuse.S_IFDIR | 0o555
	setTime(out, n.view.At())
	return 0
}

func (n *revNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

func (n *revNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.touch()
	if child := n.GetChild(name); child != nil {
		return entry(child, out)
	}
	if name != "bigfile" {
		return nil, syscall.ENOENT
	}
	dir := &dirNode{rev: n, path: "/@" + n.view.At().String() + "/bigfile"}
	return entry(n.NewInode(ctx, dir, fs.StableAttr{Mode: fuse.S_IFDIR}), out)
}

// Readdir lists bigfile/ whether or not it has been looked up.
func (n *revNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	return fs.NewListDirStream([]fuse.DirEntry{{Name: "bigfile", Mode: fuse.S_IFDIR}}), 0
}
