package btree

import (
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
)

// Flush stores all changed nodes in the transaction. Nodes that have no oid get
// one, in the order in which they are referred to. The Editor can be used on.
//
// The root is written last: whether its only bucket is kept in its record
// depends on whether the bucket has an oid, and a bucket that was just unlinked
// may still refer to it and so give it one.
func (e *editor[K]) Flush() {
	queue := e.changed
	e.changed = nil
	for _, n := range queue {
		if n.oid != 0 && n != e.root {
			e.store(n)
		} else if n != e.root {
			n.changed = false // without oid: stored when referred to
		}
	}
	e.drain()
	if e.root.changed {
		e.store(e.root)
		e.drain()
	}
}

// drain stores nodes that got an oid while others were stored.
func (e *editor[K]) drain() {
	for len(e.changed) > 0 {
		n := e.changed[0]
		e.changed = e.changed[1:]
		if n.changed {
			e.store(n)
		}
	}
	e.changed = nil
}

// ref returns a reference to n, which has an oid after that. tree is what n is
// if it is not loaded and the reference to it did not tell the class.
func (e *editor[K]) ref(n *node[K], tree bool) Ref {
	if n.oid == 0 {
		n.oid = e.txn.New()
		e.nodes[n.oid] = n
		n.changed = false
		e.change(n)
	}
	if n.class == (record.Class{}) {
		return Ref{n.oid, e.keys.class(tree)}
	}
	return Ref{n.oid, n.class}
}

func (e *editor[K]) store(n *node[K]) {
	n.changed = false
	switch {
	case !n.tree:
		e.txn.Store(n.oid, encodeBucket(n.class, e.keys.put, n.keys, n.vals, e.nextOid(n)))
	case len(n.kids) == 0:
		e.txn.Store(n.oid, encodeEmpty(n.class))
	case n == e.root && len(n.kids) == 1 && !n.kids[0].tree && n.kids[0].oid == 0:
		e.txn.Store(n.oid, encodeInline(n.class, e.keys.put, n.kids[0].keys, n.kids[0].vals))
	default:
		kids := make([]Ref, len(n.kids))
		for i, kid := range n.kids {
			kids[i] = e.ref(kid, e.kidsAreTrees(n))
		}
		e.txn.Store(n.oid, encodeTree(n.class, e.keys.put, kids, n.keys, e.ref(n.first, false)))
	}
}

// kidsAreTrees tells the kind of the children of n, which are all of one kind.
// The first bucket is a child exactly if they are buckets.
func (e *editor[K]) kidsAreTrees(n *node[K]) bool { return n.kids[0] != n.first }

func (e *editor[K]) nextOid(n *node[K]) zodb.Oid {
	if n.next == nil {
		return 0
	}
	return e.ref(n.next, false).Oid
}

func nodeClass(family Family, tree bool) record.Class {
	switch {
	case family == LO && tree:
		return record.LOBTree
	case family == LO:
		return record.LOBucket
	case tree:
		return record.IOBTree
	}
	return record.IOBucket
}

// EncodeEmpty returns the record of a tree of family LO or IO without keys.
func EncodeEmpty(family Family) []byte { return encodeEmpty(nodeClass(family, true)) }

// EncodeInline returns the record of a tree that keeps its only bucket, with
// these keys and one value for each, in its own record.
func EncodeInline(family Family, keys []int64, values []Ref) []byte {
	return encodeInline(nodeClass(family, true), (*record.Encoder).Int, keys, values)
}

// EncodeTree returns the record of an inner node: children, all trees or all
// buckets, seps between them (one less), and the leftmost bucket below.
func EncodeTree(family Family, trees bool, children []zodb.Oid, seps []int64, first zodb.Oid) []byte {
	refs := make([]Ref, len(children))
	for i, oid := range children {
		refs[i] = Ref{oid, nodeClass(family, trees)}
	}
	return encodeTree(nodeClass(family, true), (*record.Encoder).Int, refs, seps, Ref{first, nodeClass(family, false)})
}

// EncodeBucket returns the record of a bucket with these keys and one value for
// each; next is the following bucket, 0 if there is none.
func EncodeBucket(family Family, keys []int64, values []Ref, next zodb.Oid) []byte {
	return encodeBucket(nodeClass(family, false), (*record.Encoder).Int, keys, values, next)
}

func encodeEmpty(class record.Class) []byte {
	var enc record.Encoder
	enc.Reset(class)
	enc.None()
	return enc.Record()
}

func encodeInline[K any](class record.Class, put putKey[K], keys []K, values []Ref) []byte {
	var enc record.Encoder
	enc.Reset(class)
	for range 3 {
		enc.BeginTuple(1)
	}
	appendItems(&enc, put, keys, values)
	for range 3 {
		enc.EndTuple(1)
	}
	return enc.Record()
}

func encodeTree[K any](class record.Class, put putKey[K], children []Ref, seps []K, first Ref) []byte {
	var enc record.Encoder
	enc.Reset(class)
	enc.BeginTuple(2)
	n := len(children) + len(seps)
	enc.BeginTuple(n)
	for i, child := range children {
		if i > 0 {
			put(&enc, seps[i-1])
		}
		enc.Ref(child.Oid, child.Class)
	}
	enc.EndTuple(n)
	enc.Ref(first.Oid, first.Class)
	enc.EndTuple(2)
	return enc.Record()
}

func encodeBucket[K any](class record.Class, put putKey[K], keys []K, values []Ref, next zodb.Oid) []byte {
	n := 1
	if next != 0 {
		n = 2
	}
	var enc record.Encoder
	enc.Reset(class)
	enc.BeginTuple(n)
	appendItems(&enc, put, keys, values)
	if next != 0 {
		enc.Ref(next, class)
	}
	enc.EndTuple(n)
	return enc.Record()
}

func appendItems[K any](enc *record.Encoder, put putKey[K], keys []K, values []Ref) {
	enc.BeginTuple(2 * len(keys))
	for i, key := range keys {
		put(enc, key)
		enc.Ref(values[i].Oid, values[i].Class)
	}
	enc.EndTuple(2 * len(keys))
}
