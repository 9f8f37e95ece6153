package fusefs

import (
	"context"
	"sync"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// headArrays is the nodes of arrays at the newest view. There is one node of an
// array, and so one page cache, for all names that it has.
type headArrays struct {
	mu    sync.Mutex // making and replacing nodes
	nodes map[zodb.Oid]*headFileNode
}

// open returns the node of an array, which a directory has found under a name.
func (a *headArrays) open(ctx context.Context, dir *arraysNode, name string, oid zodb.Oid) (*fs.Inode, error) {
	tree := dir.view.tree
	file, err := tree.opt.Head.OpenArray(ctx, oid)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.nodes[oid]
	if known != nil && known.file == file {
		return known.EmbeddedInode(), nil
	}
	if known != nil {
		known.ForgetPersistent()
	}
	node := &headFileNode{tree: tree, file: file, before: file.Before(), path: dir.view.path(dir.below(name))}
	inode := dir.NewPersistentInode(ctx, node, tree.numbered(&dir.Inode, name, fuse.S_IFREG))
	if a.nodes == nil {
		a.nodes = make(map[zodb.Oid]*headFileNode)
	}
	a.nodes[oid] = node
	file.Attach(node)
	return inode, nil
}
