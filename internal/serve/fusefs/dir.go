package fusefs

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// dirNode is bigfile/ of a past view.
type dirNode struct {
	fs.Inode
	readOnlyDir
	rev  *revNode
	path string // from the root of the mount, for messages
}

func (n *dirNode) attr(out *fuse.Attr) time.Duration {
	n.rev.tree.access.dir(out)
	return 0
}

func (n *dirNode) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n, out)
}

// Lookup finds the file of an oid, or opens it.
func (n *dirNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.rev.touch()
	if child := n.GetChild(name); child != nil {
		return entry(child, out)
	}
	oid, ok := storage.ParseID(name)
	if !ok {
		return nil, n.rev.tree.errno(errNoName)
	}
	longer, cancel := n.rev.tree.patient(ctx)
	defer cancel()
	file, err := n.rev.view.Open(longer, zodb.Oid(oid))
	if err != nil {
		return nil, n.rev.tree.errno(fmt.Errorf("%s: lookup %q: %w", n.path, name, err))
	}
	child := &revFileNode{rev: n.rev, file: file, path: n.path + "/" + name}
	return entry(n.NewInode(ctx, child, n.rev.tree.numbered(&n.Inode, name, fuse.S_IFREG)), out)
}
