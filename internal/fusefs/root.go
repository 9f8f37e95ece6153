package fusefs

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/storage"
)

// rootNode is the root directory.
type rootNode struct {
	fs.Inode
	readOnlyDir
	tree *FS
}

// OnAdd builds the part of the tree that is always there.
func (n *rootNode) OnAdd(ctx context.Context) {
	addStatic(ctx, &n.Inode, ".wcfs", &dotwcfsNode{tree: n.tree}, fuse.S_IFDIR)
	addStatic(ctx, &n.Inode, "head", &headNode{tree: n.tree}, fuse.S_IFDIR)
}

func (n *rootNode) attr(out *fuse.Attr) time.Duration {
	out.Mode = fuse.S_IFDIR | 0o755
	return 0
}

func (n *rootNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// Lookup finds what is there, or brings @<tid> into being.
func (n *rootNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if child := n.GetChild(name); child != nil {
		return entry(child, out)
	}
	if len(name) != 17 || name[0] != '@' {
		return nil, n.tree.errno(fmt.Errorf("/: lookup %q: %w", name, errNotRev))
	}
	at, ok := storage.ParseID(name[1:])
	if !ok {
		return nil, n.tree.errno(fmt.Errorf("/: lookup %q: %w", name, errNotRev))
	}
	view, err := n.tree.opt.View(zodb.Tid(at))
	if err != nil {
		return nil, n.tree.errno(fmt.Errorf("/: lookup %q: %w", name, err))
	}
	child := &revNode{tree: n.tree, view: view}
	child.touch()
	return entry(n.NewInode(ctx, child, fs.StableAttr{Mode: fuse.S_IFDIR}), out)
}

// views returns how many @<tid> directories the kernel knows.
func (n *rootNode) views() int {
	count := 0
	for name := range n.Children() {
		if name[0] == '@' {
			count++
		}
	}
	return count
}
