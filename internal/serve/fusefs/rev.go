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
	var dir inode
	switch {
	case name == bigfileName:
		dir = &dirNode{rev: n, path: "/@" + n.view.At().String() + "/bigfile"}
	case name == arraysName && n.tree.opt.Naming != nil:
		dir = &arraysNode{view: arraysView{n.tree, n}}
	default:
		return nil, syscall.ENOENT
	}
	return entry(n.NewInode(ctx, dir, n.tree.numbered(&n.Inode, name, fuse.S_IFDIR)), out)
}

// Readdir lists the directories whether or not they have been looked up.
func (n *revNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	entries := itself(&n.Inode)
	for _, name := range []string{arraysName, bigfileName} {
		if name == bigfileName || n.tree.opt.Naming != nil {
			entries = append(entries, fuse.DirEntry{Name: name, Mode: fuse.S_IFDIR, Ino: number(n.StableAttr().Ino, name)})
		}
	}
	return fs.NewListDirStream(entries), 0
}
