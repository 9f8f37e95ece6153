package versions

import (
	"cmp"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
)

// The registry tells a commit which files a changed node matters to, and which
// served blocks show a changed ZBlk. What a file depends on is kept with the
// file: History only leads from a node to its files. A node may be registered
// longer than a served block depends on it; Sweep ends that.

// interval is the keys lo <= key <= hi.
type interval struct{ lo, hi int64 }

// nodeSet is nodes with the keys by which served blocks were reached through
// them.
type nodeSet map[zodb.Oid]interval

// widen adds one step of a path, and reports whether the node is new.
func (nodes nodeSet) widen(step btree.Step) bool {
	was, ok := nodes[step.Oid]
	now := interval{step.Lo, step.Hi}
	if ok {
		now = interval{min(was.lo, step.Lo), max(was.hi, step.Hi)}
	}
	if !ok || now != was {
		nodes[step.Oid] = now
	}
	return !ok
}

// dependents is the files that depend on a node: usually one.
type dependents struct {
	first *File
	more  []*File
}

// user is a served block that shows a ZBlk.
type user struct {
	file *File
	blk  int64
}

// register notes that served blocks of f, or its size, depend on the nodes of
// path. Of a file that commits do not look at nothing is noted.
func (h *History) register(f *File, path []btree.Step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.nodes == nil {
		return
	}
	for _, step := range path {
		if f.nodes.widen(step) {
			h.attach(step.Oid, f)
		}
		if f.sweep != nil {
			f.sweep.nodes.widen(step)
		}
	}
}

// attach leads from a node to f, which it may do already: of what a sweep has
// found to be unused, some may not be detached yet. Requires: h.mu.
func (h *History) attach(oid zodb.Oid, f *File) {
	d := h.nodes[oid]
	switch {
	case d.first == nil:
		d.first = f
	case d.first == f || slices.Contains(d.more, f):
		return
	default:
		d.more = append(d.more, f)
	}
	h.nodes[oid] = d
}

// detach takes attach back. Requires: h.mu.
func (h *History) detach(oid zodb.Oid, f *File) {
	d, ok := h.nodes[oid]
	if !ok {
		return
	}
	d.more = slices.DeleteFunc(d.more, func(o *File) bool { return o == f })
	if d.first == f {
		d.first = nil
		if len(d.more) > 0 {
			d.first = d.more[0]
			d.more = slices.Delete(d.more, 0, 1)
		}
	}
	if d.first == nil {
		delete(h.nodes, oid)
		return
	}
	if len(d.more) == 0 {
		d.more = nil
	}
	h.nodes[oid] = d
}

// unregister drops all registrations of f.
func (h *History) unregister(f *File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for oid := range f.nodes {
		h.detach(oid, f)
	}
	f.nodes, f.sweep = nil, nil
	delete(h.broken, f)
}

// hit is a changed node that served blocks of a file, or its size, depend on.
type hit struct {
	oid  zodb.Oid
	keys interval
}

// hits returns what of the registry a change of oids touches. Hits of a file
// are in the order of oids.
func (h *History) hits(oids []zodb.Oid) (nodes map[*File][]hit, blocks []user) {
	nodes = make(map[*File][]hit)
	add := func(f *File, oid zodb.Oid) {
		if keys, ok := f.nodes[oid]; ok {
			nodes[f] = append(nodes[f], hit{oid, keys})
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, oid := range oids {
		if d, ok := h.nodes[oid]; ok {
			add(d.first, oid)
			for _, f := range d.more {
				add(f, oid)
			}
		}
		if first, ok := h.zblks[oid]; ok {
			blocks = append(blocks, first)
			for other := range h.shared[oid] {
				blocks = append(blocks, other)
			}
		}
	}
	return nodes, blocks
}

// link notes that block blk of f shows zblk.
func (h *History) link(zblk zodb.Oid, f *File, blk int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	who := user{f, blk}
	first, ok := h.zblks[zblk]
	switch {
	case !ok:
		h.zblks[zblk] = who
	case first == who:
	case h.shared[zblk] == nil:
		h.shared[zblk] = map[user]struct{}{who: {}}
	default:
		h.shared[zblk][who] = struct{}{}
	}
}

// unlink takes link back.
func (h *History) unlink(zblk zodb.Oid, f *File, blk int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	who, others := user{f, blk}, h.shared[zblk]
	delete(others, who)
	if h.zblks[zblk] == who {
		delete(h.zblks, zblk)
		for other := range others { // any of them becomes the first
			h.zblks[zblk] = other
			delete(others, other)
			break
		}
	}
	if len(others) == 0 {
		delete(h.shared, zblk)
	}
}

// brokenFiles returns the files whose block table could not be read, in the
// order of their oids.
func (h *History) brokenFiles() (files []*File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.broken {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *File) int { return cmp.Compare(a.Oid, b.Oid) })
	return files
}

// setBroken notes whether the block table of f cannot be read.
func (h *History) setBroken(f *File, broken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if broken && f.nodes != nil {
		h.broken[f] = struct{}{}
	} else {
		delete(h.broken, f)
	}
}

// Sizes tells how much a History keeps.
type Sizes struct {
	Nodes int // registered nodes
	ZBlks int // ZBlks that served blocks show
}

// Sizes returns how much h keeps.
func (h *History) Sizes() Sizes {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Sizes{Nodes: len(h.nodes), ZBlks: len(h.zblks)}
}
