package btree

import (
	"fmt"
	"math"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/record"
	"github.com/wcfs/wcfs/internal/storage"
)

// Sizes above which the C implementation of BTrees splits nodes of LOBTree and
// IOBTree: see DEFAULT_MAX_BUCKET_SIZE and DEFAULT_MAX_BTREE_SIZE in its modules.
const (
	MaxBucketLen = 60  // keys of a bucket
	MaxTreeLen   = 500 // children of an inner node; the root may have twice as many
)

// Txn is a transaction that trees are edited in.
type Txn interface {
	// New returns the oid for a new object.
	New() zodb.Oid

	// Load returns the record of the object as the transaction sees it, its
	// own changes included, and its serial. The record must not be modified.
	// Errors are like those of storage.Loader.
	Load(oid zodb.Oid) (data []byte, serial zodb.Tid, err error)

	// Store makes data the record of the object. data must not be modified
	// after that. Trouble is told when the transaction is committed.
	Store(oid zodb.Oid, data []byte)
}

// Ref is a reference to an object: what trees have for values.
type Ref struct {
	Oid   zodb.Oid
	Class record.Class
}

// Editor changes one tree within one transaction, in memory until Flush. The
// tree takes the shapes that package BTrees, the C implementation, would give
// it, and the same objects change. Children are loaded when they are needed.
//
// An Editor is for one goroutine. If a method other than Flush fails, the tree
// in memory may be half changed and the Editor must be abandoned.
type Editor struct {
	txn     Txn
	family  Family
	root    *editNode
	nodes   map[zodb.Oid]*editNode // those that have an oid, loaded or not
	changed []*editNode            // in the order of their first change
}

// editNode is a node in memory. Other than Node it knows the links between
// leaves, which have to be kept up.
type editNode struct {
	oid     zodb.Oid // 0: has none yet
	class   record.Class
	tree    bool
	ghost   bool // not loaded: known are oid, and class if the reference tells it
	changed bool
	keys    []int64     // bucket: keys; tree: separators
	kids    []*editNode // tree: len(keys)+1 children, or none
	first   *editNode   // tree: the leftmost bucket below, nil if there are no children
	vals    []Ref       // bucket: len(keys) values
	next    *editNode   // bucket: the next one in the tree, or nil
}

// size is what the limits apply to.
func (n *editNode) size() int {
	if n.tree {
		return len(n.kids)
	}
	return len(n.keys)
}

// NewTree makes an empty tree of family LO or IO in txn. It exists once Flush
// was called.
func NewTree(txn Txn, family Family) *Editor {
	e := &Editor{txn: txn, family: family, nodes: make(map[zodb.Oid]*editNode)}
	e.root = e.newNode(true)
	e.root.oid = txn.New()
	e.nodes[e.root.oid] = e.root
	e.change(e.root)
	return e
}

// Edit begins to edit the tree root of that family. Errors are those of
// Txn.Load, and *storage.CorruptError.
func Edit(txn Txn, family Family, root zodb.Oid) (*Editor, error) {
	e := &Editor{txn: txn, family: family, nodes: make(map[zodb.Oid]*editNode)}
	e.root = e.node(root)
	if err := e.load(e.root); err != nil {
		return nil, fmt.Errorf("edit tree %s: %w", root, err)
	}
	if !e.root.tree {
		err := fmt.Errorf("expect a %s; got %s", family, e.root.class)
		return nil, fmt.Errorf("edit tree %s: %w", root, &storage.CorruptError{Oid: root, Err: err})
	}
	return e, nil
}

// Oid returns the oid of the tree.
func (e *Editor) Oid() zodb.Oid { return e.root.oid }

// Ref returns a reference to the tree.
func (e *Editor) Ref() Ref { return Ref{e.root.oid, e.root.class} }

// Get returns the value of key; ok is false if it is not there.
func (e *Editor) Get(key int64) (value Ref, ok bool, err error) {
	n := e.root
	for range MaxDepth {
		if err := e.load(n); err != nil {
			return Ref{}, false, fmt.Errorf("tree %s: get %d: %w", e.root.oid, key, err)
		}
		switch {
		case !n.tree:
			i, ok := slices.BinarySearch(n.keys, key)
			if !ok {
				return Ref{}, false, nil
			}
			return n.vals[i], true, nil
		case len(n.kids) == 0:
			return Ref{}, false, nil
		}
		n = n.kids[n.route(key)]
	}
	return Ref{}, false, e.tooDeep(n)
}

// MaxKey returns the largest key; ok is false if there is none.
func (e *Editor) MaxKey() (key int64, ok bool, err error) {
	err = e.descend(e.root, 0, func(bucket *editNode) bool {
		if n := len(bucket.keys); n > 0 {
			key, ok = bucket.keys[n-1], true
		}
		return !ok
	})
	if err != nil {
		return 0, false, fmt.Errorf("tree %s: max key: %w", e.root.oid, err)
	}
	return key, ok, nil
}

// descend calls f for the buckets below n from right to left until it returns
// false.
func (e *Editor) descend(n *editNode, depth int, f func(*editNode) bool) error {
	_, err := e.walk(n, depth, true, f)
	return err
}

// Items calls f for every key in ascending order until it returns an error,
// which is returned as it is.
func (e *Editor) Items(f func(key int64, value Ref) error) error {
	var failed error
	_, err := e.walk(e.root, 0, false, func(bucket *editNode) bool {
		for i, key := range bucket.keys {
			if failed = f(key, bucket.vals[i]); failed != nil {
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("items of tree %s: %w", e.root.oid, err)
	}
	return failed
}

func (e *Editor) walk(n *editNode, depth int, backward bool, f func(*editNode) bool) (more bool, err error) {
	if depth >= MaxDepth {
		return false, e.tooDeep(n)
	}
	if err := e.load(n); err != nil {
		return false, err
	}
	if !n.tree {
		return f(n), nil
	}
	for i := range n.kids {
		if backward {
			i = len(n.kids) - 1 - i
		}
		if more, err := e.walk(n.kids[i], depth+1, backward, f); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// Set makes value the value of key. Nothing changes if it is so already.
func (e *Editor) Set(key int64, value Ref) error {
	if e.family == IO && key != int64(int32(key)) {
		return fmt.Errorf("tree %s: set %d: key does not fit 32 bits", e.root.oid, key)
	}
	if value.Class == (record.Class{}) {
		return fmt.Errorf("tree %s: set %d: the class of %s is not known", e.root.oid, key, value.Oid)
	}
	if _, err := e.set(e.root, key, &value, 0); err != nil {
		return fmt.Errorf("tree %s: set %d: %w", e.root.oid, key, err)
	}
	return nil
}

// Delete removes key and reports whether it was there.
func (e *Editor) Delete(key int64) (ok bool, err error) {
	effect, err := e.set(e.root, key, nil, 0)
	if err != nil {
		return false, fmt.Errorf("tree %s: delete %d: %w", e.root.oid, key, err)
	}
	return effect != sizeSame, nil
}

// Clear removes all keys at once, without touching the buckets.
func (e *Editor) Clear() {
	if len(e.root.kids) > 0 {
		e.root.kids, e.root.keys, e.root.first = nil, nil, nil
		e.change(e.root)
	}
}

func (n *editNode) route(key int64) int {
	i, found := slices.BinarySearch(n.keys, key)
	if found {
		i++
	}
	return i
}

// newNode makes a node that has no oid yet.
func (e *Editor) newNode(tree bool) *editNode {
	return &editNode{tree: tree, class: nodeClass(e.family, tree)}
}

// node returns the node that has oid, which may be not loaded.
func (e *Editor) node(oid zodb.Oid) *editNode {
	n, ok := e.nodes[oid]
	if !ok {
		n = &editNode{oid: oid, ghost: true}
		e.nodes[oid] = n
	}
	return n
}

// nodeOf returns the node that ref refers to.
func (e *Editor) nodeOf(ref record.Value) *editNode {
	oid, _ := ref.Ref()
	n := e.node(oid)
	if n.ghost {
		n.class = ref.RefClass()
	}
	return n
}

// change notes that the record of n must be written. A node without oid is
// written when something that refers to it is.
func (e *Editor) change(n *editNode) {
	if !n.changed {
		n.changed = true
		e.changed = append(e.changed, n)
	}
}

func (e *Editor) tooDeep(n *editNode) error {
	return &storage.CorruptError{Oid: n.oid, Err: errTooDeep}
}

// load makes the content of n known.
func (e *Editor) load(n *editNode) error {
	if !n.ghost {
		return nil
	}
	data, serial, err := e.txn.Load(n.oid)
	if err != nil {
		return err
	}
	err = record.Decode(data, func(class record.Class, state record.Value) error {
		return e.setState(n, class, state)
	})
	if err != nil {
		return &storage.CorruptError{Oid: n.oid, Tid: serial, Err: err}
	}
	n.ghost = false
	return nil
}

// setState takes the state of a node. That its form is right is checked by
// decode; here are the links and the classes of values.
func (e *Editor) setState(n *editNode, class record.Class, state record.Value) error {
	checked, err := decode(class, state)
	if err != nil {
		return err
	}
	if checked.family != e.family {
		return fmt.Errorf("expect a node of a %s; got one of a %s", e.family, checked.family)
	}
	n.class, n.tree = class, class.Name == e.family.String() || class.Name == e.family.String()+"Py"
	switch {
	case !n.tree:
		return e.setBucketState(n, checked, state)
	case state.Kind() == record.KindNone:
		return nil
	case state.Len() == 1:
		bucket := e.newNode(false)
		n.kids, n.first = []*editNode{bucket}, bucket
		return e.setBucketState(bucket, checked, state.At(0).At(0))
	}
	n.keys = checked.keys
	for i := range checked.oids {
		n.kids = append(n.kids, e.nodeOf(state.At(0).At(2*i)))
	}
	n.first = e.nodeOf(state.At(1))
	return nil
}

func (e *Editor) setBucketState(n *editNode, checked *Node, state record.Value) error {
	n.keys = checked.keys
	n.vals = make([]Ref, len(checked.oids))
	for i, oid := range checked.oids {
		n.vals[i] = Ref{oid, state.At(0).At(2*i + 1).RefClass()}
		if n.vals[i].Class == (record.Class{}) {
			return fmt.Errorf("item #%d: a reference without class cannot be written back", i)
		}
	}
	if state.Len() == 2 {
		n.next = e.nodeOf(state.At(1))
	}
	return nil
}

// CheckInvariants checks that what was written here may be read as a tree of
// BTrees: sizes, order of keys and separators, and links. It loads everything,
// and is meant for tests. Trees made elsewhere need not be so.
func (e *Editor) CheckInvariants() error {
	c := checker{e: e}
	if err := c.node(e.root, math.MinInt64, math.MaxInt64, 0); err != nil {
		return fmt.Errorf("tree %s: %w", e.root.oid, err)
	}
	return c.links()
}
