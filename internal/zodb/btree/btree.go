// Package btree reads the tables of ZODB's package BTrees whose keys are
// integers and whose values are persistent objects: LOBTree and IOBTree.
//
// # Nouns
//
// A Node is one decoded record. It is a leaf, which maps keys to the oids of
// values, or inner, which routes key intervals to the oids of child nodes. A
// bucket is a leaf, and so is an empty tree and a tree that keeps its only
// bucket in its own record. A Source gives nodes as of a view.
//
// A Step tells a visited node, its serial and the interval of keys that its
// parents route to it. Intervals are inclusive on both ends, so that they cover
// all of int64.
//
// # Ownership and locking
//
// Nodes are immutable and may be shared and kept. Nothing here has state.
//
// # Caveats
//
// Trees of any shape that routes keys without ambiguity are read: branches of
// different depth, single children, empty leaves, keys of a leaf outside of the
// interval of its parent (they are not there). A tree that cannot be right
// gives a *storage.CorruptError that names the node: deeper than MaxDepth, a
// node met twice on one walk, a node of another kind of tree.
package btree

import (
	"context"
	"errors"
	"math"
	"slices"
	"unsafe"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// MaxDepth bounds the nodes from root to leaf. A healthy tree with as many keys
// as there are atoms in the world needs fewer.
const MaxDepth = 100

// Family is a kind of tree. All nodes of a tree are of one family.
type Family uint8

const (
	AnyFamily Family = iota // of Empty only
	LO                      // LOBTree: keys are int64
	IO                      // IOBTree: keys are int32
)

func (f Family) String() string {
	switch f {
	case LO:
		return "LOBTree"
	case IO:
		return "IOBTree"
	}
	return "empty tree"
}

// Node is one node of a tree.
type Node struct {
	family Family
	inner  bool
	keys   []int64    // leaf: keys, ascending; inner: separators, ascending
	oids   []zodb.Oid // leaf: values, len(keys); inner: children, len(keys)+1
}

// Empty is a leaf without keys. It stands for nodes that do not exist.
var Empty = &Node{}

// Leaf reports whether n maps keys to values.
func (n *Node) Leaf() bool { return !n.inner }

// Family returns the kind of tree that n belongs to.
func (n *Node) Family() Family { return n.family }

// Keys returns the keys of a leaf, or the separators of an inner node: child i
// covers Keys[i-1] <= key < Keys[i]. It must not be modified.
func (n *Node) Keys() []int64 { return n.keys }

// Oids returns the values of a leaf, one a key, or the children of an inner
// node, one more than there are separators. It must not be modified.
func (n *Node) Oids() []zodb.Oid { return n.oids }

// MemSize returns how much memory n takes, in bytes.
func (n *Node) MemSize() int {
	return int(unsafe.Sizeof(*n)) + 8*cap(n.keys) + 8*cap(n.oids)
}

// Get returns the value of key in leaf n.
func (n *Node) Get(key int64) (value zodb.Oid, ok bool) {
	if n.inner {
		return 0, false
	}
	i, ok := slices.BinarySearch(n.keys, key)
	if !ok {
		return 0, false
	}
	return n.oids[i], true
}

// Route returns the index of the child of inner node n that covers key.
func (n *Node) Route(key int64) int {
	i, found := slices.BinarySearch(n.keys, key)
	if found {
		i++
	}
	return i
}

// Child returns child i of inner node n and what it covers of [lo, hi]. The
// interval is empty, lo > hi, if nothing is left for it.
func (n *Node) Child(i int, lo, hi int64) (oid zodb.Oid, clo, chi int64) {
	if i > 0 {
		lo = max(lo, n.keys[i-1])
	}
	if i < len(n.keys) {
		if n.keys[i] == math.MinInt64 {
			return n.oids[i], math.MaxInt64, math.MinInt64
		}
		hi = min(hi, n.keys[i]-1)
	}
	return n.oids[i], lo, hi
}

// Source gives nodes of trees.
type Source interface {
	// Node returns the node xid.Oid as of view xid.At, with its serial.
	//
	// An object that does not exist at that view is an empty leaf: then the
	// serial is the tid of its deletion, or 0 if it was not created yet.
	// Other errors are those of storage.Loader; a record that is no node
	// gives *storage.CorruptError.
	Node(ctx context.Context, xid zodb.Xid) (n *Node, serial zodb.Tid, err error)
}

// Direct is a Source that loads and decodes each node when asked.
type Direct struct {
	Loader storage.Loader
}

// Node implements Source.
func (d Direct) Node(ctx context.Context, xid zodb.Xid) (*Node, zodb.Tid, error) {
	n, serial, err := Load(ctx, d.Loader, xid)
	if err != nil && storage.IsNoData(err) {
		return Empty, deletedAt(err), nil
	}
	return n, serial, err
}

// deletedAt returns when the object that err says does not exist was deleted,
// 0 if it was not.
func deletedAt(err error) zodb.Tid {
	var noData *zodb.NoDataError
	if errors.As(err, &noData) {
		return noData.DeletedAt
	}
	return 0
}

// Load loads the node xid.Oid as of view xid.At. Unlike Source.Node it gives an
// error if the object does not exist.
func Load(ctx context.Context, loader storage.Loader, xid zodb.Xid) (*Node, zodb.Tid, error) {
	buf, serial, err := loader.Load(ctx, xid)
	return NodeIn(xid, storage.Loaded{Buf: buf, Serial: serial, Err: err})
}

// NodeIn returns the node in what a load of xid gave, which it takes over.
func NodeIn(xid zodb.Xid, got storage.Loaded) (*Node, zodb.Tid, error) {
	if got.Err != nil {
		return nil, 0, got.Err
	}
	defer got.Buf.Release()
	n, err := Decode(got.Buf.Data)
	if err != nil {
		return nil, 0, &storage.CorruptError{Oid: xid.Oid, Tid: got.Serial, Err: err}
	}
	return n, got.Serial, nil
}
