package fusefs

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/core/past"
)

// bigfileName is where the files of a view are.
const bigfileName = "bigfile"

// revNode is @<tid>/, a view that never changes.
type revNode struct {
	fs.Inode
	readOnlyDir
	tree *FS
	view *past.View
	used atomic.Int64 // when it was used last, by time.Time.UnixNano
}

// touch notes that the view is used now.
func (n *revNode) touch() { n.used.Store(time.Now().UnixNano()) }

func (n *revNode) attr(out *fuse.Attr) time.Duration {
	n.tree.access.dir(out)
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
	if name != bigfileName {
		return nil, syscall.ENOENT
	}
	dir := &dirNode{rev: n, path: "/@" + n.view.At().String() + "/bigfile"}
	return entry(n.NewInode(ctx, dir, n.tree.numbered(&n.Inode, name, fuse.S_IFDIR)), out)
}

// Readdir lists bigfile/ whether or not it has been looked up.
func (n *revNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	bigfile := fuse.DirEntry{Name: bigfileName, Mode: fuse.S_IFDIR, Ino: number(n.StableAttr().Ino, bigfileName)}
	return fs.NewListDirStream(append(itself(&n.Inode), bigfile)), 0
}
