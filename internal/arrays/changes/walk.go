package changes

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// walk brings a table from one view to another. It walks the new tree, then the
// old one. A node that did not change and has the interval it had leads where
// it led, but for the changed nodes below: of what is below, both walks visit
// only these.
type walk struct {
	ctx      context.Context
	src      btree.Source
	table    *table // the old one until run is done
	old, new zodb.Tid
	hits     map[zodb.Oid]struct{}   // nodes of the old table that changed
	above    map[zodb.Oid][]zodb.Oid // from a node to its children that are hits or above hits

	kept  map[zodb.Oid]zodb.Oid // visited nodes that lead where they led, with their new parents
	fresh map[zodb.Oid]place    // nodes that were loaded in the new view
	gone  map[zodb.Oid]struct{} // nodes that were loaded in the old view
	bad   map[zodb.Oid]error    // visited nodes with something unknown below in the new view
	is    []item                // what leaves among fresh lead to
	was   []item                // what leaves among gone led to

	tangled bool // the new tree has nodes that are linked more than once, or too deep
}

// item is a block and the ZBlk it shows.
type item struct {
	blk  int64
	zblk zodb.Oid
}

// newWalk returns a walk from view old to s.at. hits are the nodes of s.table
// that changed between.
func newWalk(ctx context.Context, s *state, old zodb.Tid, hits map[zodb.Oid]struct{}) *walk {
	return &walk{
		ctx: ctx, src: s.src, table: &s.table, old: old, new: s.at, hits: hits,
		above: make(map[zodb.Oid][]zodb.Oid),
		kept:  make(map[zodb.Oid]zodb.Oid),
		fresh: make(map[zodb.Oid]place),
		gone:  make(map[zodb.Oid]struct{}),
		bad:   make(map[zodb.Oid]error),
	}
}

// run does all of it. The roots of the trees may be the same; oldRoot is
// InvalidOid if there was no tree. It returns the blocks that lead to something
// else than before.
func (w *walk) run(oldRoot, newRoot zodb.Oid, keys Range) (blks []int64, err error) {
	if !w.table.tangled {
		if err := w.along(oldRoot, newRoot, keys); err != nil {
			return nil, err
		}
	}
	if w.tangled || w.table.tangled {
		if err := w.whole(newRoot, keys); err != nil {
			return nil, err
		}
	}
	w.update()
	return w.relink(), nil
}

// along walks along what changed.
func (w *walk) along(oldRoot, newRoot zodb.Oid, keys Range) error {
	w.mark()
	if err := w.visitNew(newRoot, keys, zodb.InvalidOid, 0); err != nil {
		return err
	}
	if oldRoot != zodb.InvalidOid {
		if err := w.visitOld(oldRoot); err != nil {
			return err
		}
	}
	for oid := range w.fresh { // does what was not walked link one of them, too?
		_, known := w.table.nodes[oid]
		_, gone := w.gone[oid]
		w.tangled = w.tangled || known && !gone
	}
	return nil
}

// whole walks all of the new tree. Where nodes are linked more than once one
// cannot go along what changed: a link that does not change may become the only
// one. Nodes that were too deep may come up without a change, too.
func (w *walk) whole(newRoot zodb.Oid, keys Range) error {
	old := w.table.links.items()
	*w = walk{
		ctx: w.ctx, src: w.src, table: w.table, new: w.new,
		fresh: make(map[zodb.Oid]place), bad: make(map[zodb.Oid]error), was: old,
	}
	w.table.nodes, w.table.bad = make(map[zodb.Oid]place), make(map[zodb.Oid]error)
	return w.visitNew(newRoot, keys, zodb.InvalidOid, 0)
}

// mark fills in above.
func (w *walk) mark() {
	marked := make(map[zodb.Oid]struct{})
	for _, oid := range slices.Sorted(maps.Keys(w.hits)) {
		for {
			if _, ok := marked[oid]; ok {
				break
			}
			marked[oid] = struct{}{}
			parent := w.table.nodes[oid].parent
			if parent == zodb.InvalidOid {
				break
			}
			w.above[parent] = append(w.above[parent], oid)
			oid = parent
		}
	}
}

// visitNew visits a node of the new tree that depth nodes are above of.
func (w *walk) visitNew(oid zodb.Oid, keys Range, parent zodb.Oid, depth int) error {
	if w.visited(oid) {
		w.tangle(parent, oid, btree.ErrTwice)
		return nil
	}
	was, known := w.table.nodes[oid]
	if _, hit := w.hits[oid]; known && !hit && was.keys == keys {
		w.kept[oid] = parent
		for _, child := range w.above[oid] {
			if err := w.visitNew(child, w.table.nodes[child].keys, oid, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	w.fresh[oid] = place{keys, parent}
	if depth >= btree.MaxDepth {
		w.tangle(oid, oid, btree.ErrTooDeep)
		return nil
	}
	n, damaged, err := w.load(oid, w.new)
	if err != nil {
		return err
	}
	if damaged != nil {
		w.bad[oid] = damaged
		return nil
	}
	w.is = appendItems(w.is, n, keys)
	return eachChild(n, keys, func(child zodb.Oid, keys Range) error {
		return w.visitNew(child, keys, oid, depth+1)
	})
}

// visited reports whether the walk of the new tree has met a node.
func (w *walk) visited(oid zodb.Oid) bool {
	_, kept := w.kept[oid]
	_, fresh := w.fresh[oid]
	return kept || fresh
}

// visitOld visits a node of the old tree, after the new one was walked. Each node
// of it is linked once, or it would be tangled.
func (w *walk) visitOld(oid zodb.Oid) error {
	was := w.table.nodes[oid]
	if _, kept := w.kept[oid]; kept {
		for _, child := range w.above[oid] {
			if err := w.visitOld(child); err != nil {
				return err
			}
		}
		return nil
	}
	w.gone[oid] = struct{}{}
	n, damaged, err := w.load(oid, w.old)
	if err != nil || damaged != nil {
		return err
	}
	w.was = appendItems(w.was, n, was.keys)
	return eachChild(n, was.keys, func(child zodb.Oid, _ Range) error { return w.visitOld(child) })
}

// load loads a node. damaged says why what it leads to is unknown.
func (w *walk) load(oid zodb.Oid, at zodb.Tid) (n *btree.Node, damaged, err error) {
	n, serial, err := w.src.Node(w.ctx, zodb.Xid{At: at, Oid: oid})
	switch {
	case damage(err):
		return nil, err, nil
	case err != nil:
		return nil, nil, fmt.Errorf("node %s of a block table @%s: %w", oid, at, err)
	case n == btree.Empty:
		return nil, &MissingError{Oid: oid, At: at, Deleted: serial}, nil
	case n.Family() != btree.LO:
		return nil, &storage.CorruptError{Oid: oid, Tid: serial, Err: fmt.Errorf("expect a node of a %s; got one of a %s", btree.LO, n.Family())}, nil
	}
	return n, nil, nil
}

// tangle notes that what is below a node is unknown because of one of its
// children, or itself.
func (w *walk) tangle(node, because zodb.Oid, err error) {
	w.tangled = true
	w.bad[node] = &storage.CorruptError{Oid: because, Tid: w.new, Err: err}
}

// eachChild calls f for the children of an inner node that some of keys are
// routed to.
func eachChild(n *btree.Node, keys Range, f func(child zodb.Oid, keys Range) error) error {
	if n.Leaf() {
		return nil
	}
	for i := range n.Oids() {
		child, lo, hi := n.Child(i, keys.Lo, keys.Hi)
		if lo > hi {
			continue
		}
		if err := f(child, Range{lo, hi}); err != nil {
			return err
		}
	}
	return nil
}

// appendItems appends what a leaf leads to.
func appendItems(items []item, n *btree.Node, keys Range) []item {
	if !n.Leaf() {
		return items
	}
	i, _ := slices.BinarySearch(n.Keys(), keys.Lo)
	for ; i < len(n.Keys()) && n.Keys()[i] <= keys.Hi; i++ {
		items = append(items, item{n.Keys()[i], n.Oids()[i]})
	}
	return items
}

// update makes the nodes of the table those of the new tree.
func (w *walk) update() {
	for oid := range w.gone {
		delete(w.table.nodes, oid)
		delete(w.table.bad, oid)
	}
	for oid, parent := range w.kept {
		w.table.nodes[oid] = place{w.table.nodes[oid].keys, parent}
	}
	for oid, p := range w.fresh {
		w.table.nodes[oid] = p
	}
	w.table.tangled = w.tangled
	for oid, err := range w.bad {
		w.table.bad[oid] = err
	}
}

// relink makes the links of the table those of the new tree, and returns the
// blocks that differ.
func (w *walk) relink() (blks []int64) {
	byBlk := func(a, b item) int { return cmp.Compare(a.blk, b.blk) }
	slices.SortFunc(w.was, byBlk)
	slices.SortFunc(w.is, byBlk)
	for was, is := w.was, w.is; len(was) > 0 || len(is) > 0; {
		switch {
		case len(is) == 0 || len(was) > 0 && was[0].blk < is[0].blk:
			w.table.links.remove(was[0].zblk, was[0].blk)
			blks, was = append(blks, was[0].blk), was[1:]
		case len(was) == 0 || is[0].blk < was[0].blk:
			w.table.links.add(is[0].zblk, is[0].blk)
			blks, is = append(blks, is[0].blk), is[1:]
		default:
			if was[0].zblk != is[0].zblk {
				w.table.links.remove(was[0].zblk, was[0].blk)
				w.table.links.add(is[0].zblk, is[0].blk)
				blks = append(blks, is[0].blk)
			}
			was, is = was[1:], is[1:]
		}
	}
	return blks
}
