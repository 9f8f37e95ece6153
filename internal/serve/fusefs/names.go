package fusefs

import (
	"sync"
)

// names knows the paths of the nodes that the kernel knows. Requests name a node
// by a number, and the FUSE library keeps to itself which node that is.
type names struct {
	mu    sync.Mutex // map operations only
	nodes map[uint64]*known
}

// known is one node.
type known struct {
	path    string // from the root of the mount
	lookups uint64 // that the kernel did not take back
}

const rootID = 1 // FUSE_ROOT_ID

// lookedUp notes that the kernel was told that name in directory dir is node.
func (n *names) lookedUp(dir uint64, name string, node uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if k := n.nodes[node]; k != nil {
		k.lookups++
		return
	}
	if n.nodes == nil {
		n.nodes = make(map[uint64]*known)
	}
	n.nodes[node] = &known{path: n.join(dir, name), lookups: 1}
}

// forgot notes that the kernel takes lookups of node back.
func (n *names) forgot(node, lookups uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.nodes[node]
	if k == nil {
		return
	}
	if k.lookups -= min(lookups, k.lookups); k.lookups == 0 {
		delete(n.nodes, node)
	}
}

// path returns the path of name in directory dir, or of dir if name is empty.
func (n *names) path(dir uint64, name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.join(dir, name)
}

// join is path. Requires: n.mu.
func (n *names) join(dir uint64, name string) string {
	path := "/"
	if dir != rootID {
		k := n.nodes[dir]
		if k == nil {
			return "?/" + name // forgotten meanwhile
		}
		path = k.path
	}
	switch {
	case name == "":
		return path
	case path == "/":
		return "/" + name
	}
	return path + "/" + name
}
