package fusefs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// headNode is head/, the newest view.
type headNode struct {
	fs.Inode
	readOnlyDir
	tree *FS
}

func (n *headNode) OnAdd(ctx context.Context) {
	at := func() []byte { return []byte(n.tree.opt.Head.At().String()) }
	n.tree.addStatic(ctx, &n.Inode, "at", &dynamicFile{tree: n.tree, content: at}, fuse.S_IFREG)
	n.tree.addStatic(ctx, &n.Inode, "watch", &watchNode{tree: n.tree}, fuse.S_IFREG)
	n.tree.addStatic(ctx, &n.Inode, bigfileName, &headDirNode{tree: n.tree}, fuse.S_IFDIR)
	if n.tree.opt.Naming != nil {
		n.tree.addStatic(ctx, &n.Inode, arraysName, &arraysNode{view: arraysView{tree: n.tree}}, fuse.S_IFDIR)
	}
}

func (n *headNode) attr(out *fuse.Attr) time.Duration {
	n.tree.access.dir(out)
	setTime(out, n.tree.opt.Head.At())
	return changing
}

func (n *headNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

func (n *headNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return lookupStatic(&n.Inode, name, out)
}
