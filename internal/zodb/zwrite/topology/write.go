package topology

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Txn is a transaction that trees are stored in.
type Txn interface {
	btree.Txn

	// Delete makes the object not exist.
	Delete(oid zodb.Oid)
}

// Reuse says which objects become the nodes of a tree. The root always is the
// same object, and kinds are never mixed: a bucket does not become a tree.
type Reuse int

const (
	Place   Reuse = iota // what was at the same place of the previous tree, counted from the left
	Fresh                // new objects
	Shuffle              // at random: any that was once part of the tree, or a new one
)

// Writer stores trees under one root.
type Writer struct {
	Root   zodb.Oid                    // of the LOBTree; it need not exist yet, but must not come from New once more
	Values func(name string) btree.Ref // what names of values stand for
	Reuse  Reuse
	Rnd    *rand.Rand // of Shuffle
	Inline bool       // keep the bucket in the record of the root if it is the only one

	trees   pool
	buckets pool
}

// pool has the oids for nodes of one kind.
type pool struct {
	oids []zodb.Oid // that were used once, in the order of their first use
	used int        // how many of them are taken in the tree being stored
}

// Put stores a tree: every record that changes, and nothing else. A nil root
// deletes the root; what was below it stays, as it does with BTrees.
func (w *Writer) Put(txn Txn, root *Node) error {
	if root == nil {
		txn.Delete(w.Root)
		return nil
	}
	if err := w.checkValues(root); err != nil {
		return fmt.Errorf("store tree %s: %w", w.Root, err)
	}
	w.trees.begin(w)
	w.buckets.begin(w)
	p := &put{w: w, txn: txn, oids: map[*Node]zodb.Oid{root: w.Root}}
	switch {
	case len(root.Children) == 0:
		return p.store(w.Root, btree.EncodeEmpty(btree.LO))
	case w.Inline && len(root.Children) == 1 && root.Children[0].Bucket:
		keys, values := p.items(root.Children[0])
		return p.store(w.Root, btree.EncodeInline(btree.LO, keys, values))
	}
	p.assign(root)
	p.collect(root)
	return p.node(root)
}

// checkValues checks that all names of values below n are known.
func (w *Writer) checkValues(n *Node) error {
	for _, item := range n.Items {
		if w.Values(item.Value) == (btree.Ref{}) {
			return fmt.Errorf("there is no value named %q", item.Value)
		}
	}
	for _, child := range n.Children {
		if err := w.checkValues(child); err != nil {
			return err
		}
	}
	return nil
}

// PutText is Put of a topology given as text.
func (w *Writer) PutText(txn Txn, text string) error {
	root, err := Parse(text)
	if err != nil {
		return err
	}
	return w.Put(txn, root)
}

func (p *pool) begin(w *Writer) {
	p.used = 0
	switch w.Reuse {
	case Fresh:
		p.oids = nil
	case Shuffle:
		w.Rnd.Shuffle(len(p.oids), func(i, j int) { p.oids[i], p.oids[j] = p.oids[j], p.oids[i] })
	}
}

// next returns the oid for one more node.
func (p *pool) next(w *Writer, txn Txn) zodb.Oid {
	if p.used == len(p.oids) || w.Reuse == Shuffle && w.Rnd.IntN(3) == 0 {
		p.oids = slices.Insert(p.oids, p.used, txn.New())
	}
	p.used++
	return p.oids[p.used-1]
}

// put is the storing of one tree.
type put struct {
	w       *Writer
	txn     Txn
	oids    map[*Node]zodb.Oid
	buckets []*Node // from left to right
}

// assign gives oids to the nodes below n, layer by layer.
func (p *put) assign(root *Node) {
	for layer := []*Node{root}; len(layer) > 0; {
		var below []*Node
		for _, n := range layer {
			for _, child := range n.Children {
				if child.Bucket {
					p.oids[child] = p.w.buckets.next(p.w, p.txn)
				} else {
					p.oids[child] = p.w.trees.next(p.w, p.txn)
				}
			}
			below = append(below, n.Children...)
		}
		layer = below
	}
}

// collect lists the buckets below n.
func (p *put) collect(n *Node) {
	if n.Bucket {
		p.buckets = append(p.buckets, n)
	}
	for _, child := range n.Children {
		p.collect(child)
	}
}

// node stores n and what is below.
func (p *put) node(n *Node) error {
	oid := p.oids[n]
	if n.Bucket {
		var next zodb.Oid
		if i := slices.Index(p.buckets, n); i+1 < len(p.buckets) {
			next = p.oids[p.buckets[i+1]]
		}
		keys, values := p.items(n)
		return p.store(oid, btree.EncodeBucket(btree.LO, keys, values, next))
	}
	first := n
	for !first.Bucket {
		first = first.Children[0]
	}
	kids := make([]zodb.Oid, len(n.Children))
	for i, child := range n.Children {
		kids[i] = p.oids[child]
		if err := p.node(child); err != nil {
			return err
		}
	}
	return p.store(oid, btree.EncodeTree(btree.LO, !n.Children[0].Bucket, kids, n.Seps, p.oids[first]))
}

func (p *put) items(n *Node) (keys []int64, values []btree.Ref) {
	for _, item := range n.Items {
		keys = append(keys, item.Key)
		values = append(values, p.w.Values(item.Value))
	}
	return keys, values
}

// store stores a record if it is another one than there was.
func (p *put) store(oid zodb.Oid, data []byte) error {
	old, _, err := p.txn.Load(oid)
	switch {
	case err == nil && bytes.Equal(old, data):
		return nil
	case err != nil && !storage.IsNoData(err):
		return fmt.Errorf("store tree %s: %w", p.w.Root, err)
	}
	p.txn.Store(oid, data)
	return nil
}
