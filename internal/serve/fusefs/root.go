package fusefs

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// rootNode is the root directory.
type rootNode struct {
	fs.Inode
	readOnlyDir
	tree *FS
}

// OnAdd builds the part of the tree that is always there.
func (n *rootNode) OnAdd(ctx context.Context) {
	n.tree.addStatic(ctx, &n.Inode, ".wcfs", &dotwcfsNode{tree: n.tree}, fuse.S_IFDIR)
	n.tree.addStatic(ctx, &n.Inode, "head", &headNode{tree: n.tree}, fuse.S_IFDIR)
}

func (n *rootNode) attr(out *fuse.Attr) time.Duration {
	n.tree.access.dir(out)
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
	text, view := strings.CutPrefix(name, "@")
	at, ok := storage.ParseID(text)
	if !view || !ok {
		return nil, n.tree.errno(errNoName)
	}
	past, err := n.tree.opt.View(zodb.Tid(at))
	if err != nil {
		return nil, n.tree.errno(fmt.Errorf("/: lookup %q: %w", name, err))
	}
	child := &revNode{tree: n.tree, view: past}
	child.touch()
	return entry(n.NewInode(ctx, child, n.tree.numbered(&n.Inode, name, fuse.S_IFDIR)), out)
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
