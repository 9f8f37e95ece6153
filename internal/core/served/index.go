package served

import (
	"maps"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
)

// Index leads from objects to what is served: see the package comment.
type Index struct {
	nodes  map[zodb.Oid]dependents
	files  map[zodb.Oid]*registered
	zblks  map[zodb.Oid]Use              // ZBlk -> a block that shows it
	shared map[zodb.Oid]map[Use]struct{} // ZBlk -> all others that show it, if there are
}

// registered is the nodes that served blocks of one file, or its size, depend on.
type registered struct {
	nodes nodeSet
	left  int    // how many of them there were after the last sweep
	sweep *Sweep // under way; or nil
}

// dependents is the files that have a node registered: usually one.
type dependents struct {
	first zodb.Oid
	more  []zodb.Oid
}

// Use is a served block that shows a ZBlk.
type Use struct {
	File zodb.Oid
	Blk  int64
}

// nodeSet is nodes with the keys by which served blocks were reached through them.
type nodeSet map[zodb.Oid]btree.Keys

// widen adds one step of a path, and reports whether the node is new.
func (nodes nodeSet) widen(step btree.Step) (isNew bool) {
	was, ok := nodes[step.Oid]
	now := btree.Keys{Lo: step.Lo, Hi: step.Hi}
	if ok {
		now = btree.Keys{Lo: min(was.Lo, step.Lo), Hi: max(was.Hi, step.Hi)}
	}
	if !ok || now != was {
		nodes[step.Oid] = now
	}
	return !ok
}

// NewIndex returns an Index of no files.
func NewIndex() *Index {
	return &Index{
		nodes:  make(map[zodb.Oid]dependents),
		files:  make(map[zodb.Oid]*registered),
		zblks:  make(map[zodb.Oid]Use),
		shared: make(map[zodb.Oid]map[Use]struct{}),
	}
}

// Enter makes file, which is not known, known.
func (x *Index) Enter(file zodb.Oid) { x.files[file] = &registered{nodes: make(nodeSet)} }

// Leave forgets file, of which no block is linked any more. It is linear in the number
// of its nodes.
func (x *Index) Leave(file zodb.Oid) {
	if r := x.files[file]; r != nil {
		for oid := range r.nodes {
			x.detach(oid, file)
		}
		delete(x.files, file)
	}
}

// Register notes that served blocks of file, or its size, depend on the nodes of path.
// Of a file that is not known nothing is noted.
func (x *Index) Register(file zodb.Oid, path []btree.Step) {
	r := x.files[file]
	if r == nil {
		return
	}
	for _, step := range path {
		if r.nodes.widen(step) {
			x.attach(step.Oid, file)
		}
		if r.sweep != nil {
			r.sweep.found.widen(step)
		}
	}
}

// attach leads from a node to a file, which it may do already: of what a sweep has
// found to be unused, some may not be detached yet.
func (x *Index) attach(node, file zodb.Oid) {
	d, ok := x.nodes[node]
	switch {
	case !ok:
		d.first = file
	case d.first == file || slices.Contains(d.more, file):
		return
	default:
		d.more = append(d.more, file)
	}
	x.nodes[node] = d
}

// detach takes attach back.
func (x *Index) detach(node, file zodb.Oid) {
	d, ok := x.nodes[node]
	if !ok {
		return
	}
	d.more = slices.DeleteFunc(d.more, func(o zodb.Oid) bool { return o == file })
	if d.first == file {
		if len(d.more) == 0 {
			delete(x.nodes, node)
			return
		}
		d.first = d.more[0]
		d.more = slices.Delete(d.more, 0, 1)
	}
	if len(d.more) == 0 {
		d.more = nil
	}
	x.nodes[node] = d
}

// Hit is a changed node that served blocks of a file, or its size, depend on.
type Hit struct {
	Node zodb.Oid
	Keys btree.Keys
}

// Hits returns what is touched by a change of oids: files by their nodes, which are in
// the order of oids, and blocks by their ZBlks.
func (x *Index) Hits(oids []zodb.Oid) (nodes map[zodb.Oid][]Hit, blocks []Use) {
	nodes = make(map[zodb.Oid][]Hit)
	add := func(file, node zodb.Oid) {
		if r := x.files[file]; r != nil {
			if keys, ok := r.nodes[node]; ok {
				nodes[file] = append(nodes[file], Hit{node, keys})
			}
		}
	}
	for _, oid := range oids {
		if d, ok := x.nodes[oid]; ok {
			add(d.first, oid)
			for _, file := range d.more {
				add(file, oid)
			}
		}
		if first, ok := x.zblks[oid]; ok {
			blocks = append(blocks, first)
			for other := range x.shared[oid] {
				blocks = append(blocks, other)
			}
		}
	}
	return nodes, blocks
}

// Link notes that a block shows zblk.
func (x *Index) Link(zblk zodb.Oid, use Use) {
	first, ok := x.zblks[zblk]
	switch {
	case !ok:
		x.zblks[zblk] = use
	case first == use:
	case x.shared[zblk] == nil:
		x.shared[zblk] = map[Use]struct{}{use: {}}
	default:
		x.shared[zblk][use] = struct{}{}
	}
}

// Unlink takes Link back.
func (x *Index) Unlink(zblk zodb.Oid, use Use) {
	others := x.shared[zblk]
	delete(others, use)
	if x.zblks[zblk] == use {
		delete(x.zblks, zblk)
		for other := range others { // any of them becomes the first
			x.zblks[zblk] = other
			delete(others, other)
			break
		}
	}
	if len(others) == 0 {
		delete(x.shared, zblk)
	}
}

// Relink makes a block of file show what it does now.
func (x *Index) Relink(file zodb.Oid, was, is Link) {
	if was.Linked {
		x.Unlink(was.ZBlk, Use{file, was.Blk})
	}
	if is.Linked {
		x.Link(is.ZBlk, Use{file, is.Blk})
	}
}

// Sizes tells how much an Index keeps.
type Sizes struct {
	Nodes int // registered nodes
	ZBlks int // ZBlks that served blocks show
}

// Sizes returns how much x keeps.
func (x *Index) Sizes() Sizes { return Sizes{Nodes: len(x.nodes), ZBlks: len(x.zblks)} }

// Registered returns the nodes that are registered for a file: a copy of all of them.
func (x *Index) Registered(file zodb.Oid) map[zodb.Oid]btree.Keys {
	if r := x.files[file]; r != nil {
		return maps.Clone(map[zodb.Oid]btree.Keys(r.nodes))
	}
	return nil
}
