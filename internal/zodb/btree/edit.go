package btree

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"lab.nexedi.com/kirr/go123/xerr"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Sizes above which the C implementation of BTrees splits nodes of LOBTree and
// IOBTree: see DEFAULT_MAX_BUCKET_SIZE and DEFAULT_MAX_BTREE_SIZE in its modules.
const (
	MaxBucketLen = 60  // keys of a bucket
	MaxTreeLen   = 500 // children of an inner node; the root may have twice as many
)

// The same sizes for OOBTree.
const (
	maxNamesBucket = 30
	maxNamesTree   = 250
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
type Editor = editor[int64]

// Names is an Editor of a tree whose keys are text: OOBTree. Keys that Python
// compares with each other are in the order of their code points, which is that of
// UTF-8. A tree that has other keys, or values that are no objects of their own, is
// refused with a *ForeignError.
type Names = editor[string]

// editor is an Editor for keys of one type.
type editor[K cmp.Ordered] struct {
	txn     Txn
	keys    keyKind[K]
	root    *node[K]
	nodes   map[zodb.Oid]*node[K] // those that have an oid, loaded or not
	changed []*node[K]            // in the order of their first change
}

// node is a node in memory. Other than Node it knows the links between leaves, which have
// to be kept up.
type node[K cmp.Ordered] struct {
	oid     zodb.Oid // 0: has none yet
	class   record.Class
	tree    bool
	ghost   bool // not loaded: known are oid, and class if the reference tells it
	changed bool
	keys    []K        // bucket: keys; tree: separators
	kids    []*node[K] // tree: len(keys)+1 children, or none
	first   *node[K]   // tree: the leftmost bucket below, nil if there are no children
	vals    []Ref      // bucket: len(keys) values
	next    *node[K]   // bucket: the next one in the tree, or nil
}

// size is what the limits apply to.
func (n *node[K]) size() int {
	if n.tree {
		return len(n.kids)
	}
	return len(n.keys)
}

// NewTree makes an empty tree of family LO or IO in txn. It exists once Flush
// was called.
func NewTree(txn Txn, family Family) *Editor { return newTree(txn, integerKeys(family)) }

// NewNames makes an empty OOBTree in txn. It exists once Flush was called.
func NewNames(txn Txn) *Names { return newTree(txn, textKeys) }

func newTree[K cmp.Ordered](txn Txn, keys keyKind[K]) *editor[K] {
	e := newEditor(txn, keys)
	e.root = e.newNode(true)
	e.root.oid = txn.New()
	e.nodes[e.root.oid] = e.root
	e.change(e.root)
	return e
}

// Edit begins to edit the tree root of that family. Errors are those of
// Txn.Load, and *storage.CorruptError.
func Edit(txn Txn, family Family, root zodb.Oid) (*Editor, error) {
	return edit(txn, integerKeys(family), root)
}

// EditNames begins to edit the OOBTree root. Errors are those of Txn.Load,
// *storage.CorruptError, and *ForeignError, which the methods of Names may return as
// well.
func EditNames(txn Txn, root zodb.Oid) (*Names, error) { return edit(txn, textKeys, root) }

func newEditor[K cmp.Ordered](txn Txn, keys keyKind[K]) *editor[K] {
	return &editor[K]{txn: txn, keys: keys, nodes: make(map[zodb.Oid]*node[K])}
}

func edit[K cmp.Ordered](txn Txn, keys keyKind[K], root zodb.Oid) (_ *editor[K], err error) {
	defer xerr.Contextf(&err, "edit tree %s", root)
	e := newEditor(txn, keys)
	e.root = e.node(root)
	if err := e.load(e.root); err != nil {
		return nil, err
	}
	if !e.root.tree {
		err := fmt.Errorf("expect a %s; got %s", keys.class(true).Name, e.root.class)
		return nil, &storage.CorruptError{Oid: root, Err: err}
	}
	return e, nil
}

// Oid returns the oid of the tree.
func (e *editor[K]) Oid() zodb.Oid { return e.root.oid }

// Ref returns a reference to the tree.
func (e *editor[K]) Ref() Ref { return Ref{e.root.oid, e.root.class} }

// Get returns the value of key; ok is false if it is not there.
func (e *editor[K]) Get(key K) (value Ref, ok bool, err error) {
	n := e.root
	for range MaxDepth {
		if err := e.load(n); err != nil {
			return Ref{}, false, fmt.Errorf("tree %s: get %v: %w", e.root.oid, key, err)
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
func (e *editor[K]) MaxKey() (key K, ok bool, err error) {
	err = e.descend(e.root, 0, func(bucket *node[K]) bool {
		if n := len(bucket.keys); n > 0 {
			key, ok = bucket.keys[n-1], true
		}
		return !ok
	})
	if err != nil {
		return key, false, fmt.Errorf("tree %s: max key: %w", e.root.oid, err)
	}
	return key, ok, nil
}

// descend calls f for the buckets below n from right to left until it returns
// false.
func (e *editor[K]) descend(n *node[K], depth int, f func(*node[K]) bool) error {
	_, err := e.walk(n, depth, true, f)
	return err
}

// Items calls f for every key in ascending order until it returns an error,
// which is returned as it is.
func (e *editor[K]) Items(f func(key K, value Ref) error) error {
	var failed error
	_, err := e.walk(e.root, 0, false, func(bucket *node[K]) bool {
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

func (e *editor[K]) walk(n *node[K], depth int, backward bool, f func(*node[K]) bool) (more bool, err error) {
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
func (e *editor[K]) Set(key K, value Ref) (err error) {
	defer xerr.Contextf(&err, "tree %s: set %v", e.root.oid, key)
	if err := e.keys.check(key); err != nil {
		return err
	}
	if value.Class == (record.Class{}) {
		return fmt.Errorf("the class of %s is not known", value.Oid)
	}
	_, err = e.set(e.root, key, &value, 0)
	return err
}

// Delete removes key and reports whether it was there.
func (e *editor[K]) Delete(key K) (ok bool, err error) {
	effect, err := e.set(e.root, key, nil, 0)
	if err != nil {
		return false, fmt.Errorf("tree %s: delete %v: %w", e.root.oid, key, err)
	}
	return effect != sizeSame, nil
}

// Clear removes all keys at once, without touching the buckets.
func (e *editor[K]) Clear() {
	if len(e.root.kids) > 0 {
		e.root.kids, e.root.keys, e.root.first = nil, nil, nil
		e.change(e.root)
	}
}

func (n *node[K]) route(key K) int {
	i, found := slices.BinarySearch(n.keys, key)
	if found {
		i++
	}
	return i
}

// newNode makes a node that has no oid yet.
func (e *editor[K]) newNode(tree bool) *node[K] {
	return &node[K]{tree: tree, class: e.keys.class(tree)}
}

// node returns the node that has oid, which may be not loaded.
func (e *editor[K]) node(oid zodb.Oid) *node[K] {
	n, ok := e.nodes[oid]
	if !ok {
		n = &node[K]{oid: oid, ghost: true}
		e.nodes[oid] = n
	}
	return n
}

// nodeOf returns the node that ref refers to.
func (e *editor[K]) nodeOf(ref record.Value) *node[K] {
	oid, _ := ref.Ref()
	n := e.node(oid)
	if n.ghost {
		n.class = ref.RefClass()
	}
	return n
}

// change notes that the record of n must be written. A node without oid is
// written when something that refers to it is.
func (e *editor[K]) change(n *node[K]) {
	if !n.changed {
		n.changed = true
		e.changed = append(e.changed, n)
	}
}

func (e *editor[K]) tooDeep(n *node[K]) error {
	return &storage.CorruptError{Oid: n.oid, Err: ErrTooDeep}
}

// load makes the content of n known.
func (e *editor[K]) load(n *node[K]) error {
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
	var foreign *ForeignError
	if errors.As(err, &foreign) {
		return err
	}
	if err != nil {
		return &storage.CorruptError{Oid: n.oid, Tid: serial, Err: err}
	}
	n.ghost = false
	return nil
}

// setState takes the state of a node. Its form is checked by decode; here are
// the links and the classes of values.
func (e *editor[K]) setState(n *node[K], class record.Class, state record.Value) error {
	checked, err := e.keys.decode(class, state)
	if err != nil {
		return err
	}
	n.class, n.tree = class, checked.tree
	switch {
	case !n.tree:
		return e.setBucketState(n, checked, state)
	case state.Kind() == pickle.KindNone:
		return nil
	case state.Len() == 1:
		bucket := e.newNode(false)
		n.kids, n.first = []*node[K]{bucket}, bucket
		return e.setBucketState(bucket, checked, state.At(0).At(0))
	}
	n.keys = checked.keys
	for i := range len(checked.keys) + 1 {
		n.kids = append(n.kids, e.nodeOf(state.At(0).At(2*i)))
	}
	n.first = e.nodeOf(state.At(1))
	return nil
}

func (e *editor[K]) setBucketState(n *node[K], checked decoded[K], state record.Value) error {
	n.keys = checked.keys
	n.vals = make([]Ref, len(checked.keys))
	for i := range n.vals {
		value := state.At(0).At(2*i + 1)
		oid, _ := value.Ref()
		n.vals[i] = Ref{oid, value.RefClass()}
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
func (e *editor[K]) CheckInvariants() error {
	c := checker[K]{e: e}
	if err := c.node(e.root, nil, nil, 0); err != nil {
		return fmt.Errorf("tree %s: %w", e.root.oid, err)
	}
	return c.links()
}
