package btree

import (
	"errors"
	"slices"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// effect is what a change below a node means for the node.
type effect int

const (
	sizeSame      effect = iota
	sizeChanged          // keys were added or removed
	firstUnlinked        // and the leftmost bucket is gone; whoever is left of it still links to it
)

var errEmptyInner = errors.New("inner node has no children")

// set gives key a value below tree n, or removes it if value is nil. It does
// the steps of _BTree_set in BTrees/BTreeTemplate.c.
func (e *editor[K]) set(n *node[K], key K, value *Ref, depth int) (effect, error) {
	if depth >= MaxDepth {
		return sizeSame, e.tooDeep(n)
	}
	if err := e.load(n); err != nil {
		return sizeSame, err
	}
	if len(n.kids) == 0 {
		if depth > 0 {
			return sizeSame, &storage.CorruptError{Oid: n.oid, Err: errEmptyInner}
		}
		if value == nil {
			return sizeSame, nil
		}
		bucket := e.newNode(false)
		n.kids, n.first = []*node[K]{bucket}, bucket
	}
	i := n.route(key)
	child := n.kids[i]
	if err := e.load(child); err != nil {
		return sizeSame, err
	}
	var done effect
	var err error
	if child.tree {
		done, err = e.set(child, key, value, depth+1)
	} else {
		var changed bool
		done, changed = e.setInBucket(child, key, value)
		if changed && len(n.kids) == 1 && child.oid == 0 {
			e.change(n) // the bucket is in the record of n
		}
	}
	switch {
	case done == sizeSame || err != nil:
		return done, err
	case value == nil:
		return e.shrunk(n, i, key, done)
	case child.tree && len(child.kids) > e.keys.maxTree, !child.tree && len(child.keys) > e.keys.maxBucket:
		return done, e.grow(n, i)
	}
	return done, nil
}

func (e *editor[K]) setInBucket(b *node[K], key K, value *Ref) (_ effect, changed bool) {
	i, found := slices.BinarySearch(b.keys, key)
	switch {
	case found && value == nil:
		b.keys = slices.Delete(b.keys, i, i+1)
		b.vals = slices.Delete(b.vals, i, i+1)
	case found && b.vals[i].Oid == value.Oid, !found && value == nil:
		return sizeSame, false
	case found:
		b.vals[i] = *value
		e.change(b)
		return sizeSame, true
	default:
		b.keys = slices.Insert(b.keys, i, key)
		b.vals = slices.Insert(b.vals, i, *value)
	}
	e.change(b)
	return sizeChanged, true
}

// grow splits child i of n in the middle. If n becomes twice as big as an inner
// node may be, which only a root can, its children move one level down: the
// root must keep its oid.
func (e *editor[K]) grow(n *node[K], i int) error {
	left := n.kids[i]
	right := e.newNode(left.tree)
	sep, err := e.split(left, right)
	if err != nil {
		return err
	}
	n.keys = slices.Insert(n.keys, i, sep)
	n.kids = slices.Insert(n.kids, i+1, right)
	e.change(n)
	if len(n.kids) < 2*e.keys.maxTree {
		return nil
	}
	child := e.newNode(true)
	child.keys, child.kids, child.first = n.keys, n.kids, n.first
	n.keys, n.kids = nil, []*node[K]{child}
	return e.grow(n, 0)
}

// split moves the upper half of left to right, which is empty, and returns the
// separator between them.
func (e *editor[K]) split(left, right *node[K]) (sep K, err error) {
	e.change(left)
	mid := left.size() / 2
	if !left.tree {
		right.keys, right.vals = slices.Clone(left.keys[mid:]), slices.Clone(left.vals[mid:])
		left.keys, left.vals = left.keys[:mid], left.vals[:mid]
		right.next, left.next = left.next, right
		return right.keys[0], nil
	}
	sep = left.keys[mid-1]
	right.keys, right.kids = slices.Clone(left.keys[mid:]), slices.Clone(left.kids[mid:])
	left.keys, left.kids = left.keys[:mid-1], left.kids[:mid]
	right.first = right.kids[0]
	if err := e.load(right.first); err != nil {
		return sep, err
	}
	if right.first.tree {
		right.first = right.first.first
	}
	return sep, nil
}

// shrunk follows up on the removal of key below child i of n.
func (e *editor[K]) shrunk(n *node[K], i int, key K, done effect) (effect, error) {
	child := n.kids[i]
	if i > 0 && child.size() > 0 && n.keys[i-1] == key {
		if err := e.raiseSeparator(n, i); err != nil {
			return done, err
		}
	}
	if done == firstUnlinked {
		if i > 0 {
			done = sizeChanged
			if err := e.unlinkAfter(n.kids[i-1]); err != nil {
				return done, err
			}
		} else {
			n.first = child.first
			e.change(n)
		}
	}
	if child.size() > 0 {
		return done, nil
	}
	if !child.tree {
		if i > 0 {
			if err := e.unlinkAfter(n.kids[i-1]); err != nil {
				return done, err
			}
		} else {
			n.first = child.next
			done = firstUnlinked
		}
	}
	n.kids = slices.Delete(n.kids, i, i+1)
	if len(n.keys) > 0 {
		n.keys = slices.Delete(n.keys, max(i-1, 0), max(i-1, 0)+1)
	}
	e.change(n)
	return done, nil
}

// raiseSeparator makes the separator in front of child i of n, whose key was
// removed, the smallest key that is left there.
func (e *editor[K]) raiseSeparator(n *node[K], i int) error {
	bucket := n.kids[i]
	if bucket.tree {
		bucket = bucket.first
	}
	if err := e.load(bucket); err != nil {
		return err
	}
	if len(bucket.keys) > 0 { // else it is not from BTrees, and the old one is right too
		n.keys[i-1] = bucket.keys[0]
		e.change(n)
	}
	return nil
}

// unlinkAfter takes the bucket that follows the last one of n out of the chain.
func (e *editor[K]) unlinkAfter(n *node[K]) error {
	for range MaxDepth {
		if err := e.load(n); err != nil {
			return err
		}
		if n.tree {
			if len(n.kids) == 0 {
				return &storage.CorruptError{Oid: n.oid, Err: errEmptyInner}
			}
			n = n.kids[len(n.kids)-1]
			continue
		}
		if n.next == nil {
			return nil
		}
		if err := e.load(n.next); err != nil {
			return err
		}
		n.next = n.next.next
		e.change(n)
		return nil
	}
	return e.tooDeep(n)
}
