package tail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	tbtree "github.com/tidwall/btree"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/bigfile"
	"github.com/wcfs/wcfs/internal/btree"
	"github.com/wcfs/wcfs/internal/storage"
)

// Commit takes one transaction into the history. Its steps, in order:
//
//	Prepare   for every file: what is served from now on is "late"
//	Diff      loads and compares; the files still show the old view
//	Switch    for every file: from here on it shows the new view
//	Settle    for every file with late blocks: did the commit change them?
//
// Prepare and Switch are short and need the lock of the file; Diff and Settle
// load and must be called without any lock. One commit follows another.
type Commit struct {
	history  *History
	old, tid zodb.Tid
	changed  map[zodb.Oid]struct{}
	oids     []zodb.Oid
}

// Begin appends the transaction to the object tail. Views up to tid can be
// walked from here on.
func (h *History) Begin(tid zodb.Tid, oids []zodb.Oid) *Commit {
	c := &Commit{history: h, old: h.objs.Head(), tid: tid, oids: oids, changed: make(map[zodb.Oid]struct{}, len(oids))}
	for _, oid := range oids {
		c.changed[oid] = struct{}{}
	}
	h.objs.Append(tid, oids)
	return c
}

// Tid returns the tid of the transaction.
func (c *Commit) Tid() zodb.Tid { return c.tid }

// Prepare begins to note late blocks of f. Requires: lock of f.
func (c *Commit) Prepare(f *File) {
	f.committing = true
	f.late = nil
}

// Delta is what a commit means for one file.
type Delta struct {
	File    *File
	Changed []int64 // served blocks that changed, ascending

	// Obj is the ZBigFile after the commit, and Size the size in bytes.
	Obj  *bigfile.File
	Size int64

	// Fence says that the object is another file now, or none: created anew,
	// deleted, or with blocks of another size. Broken says that the block
	// table cannot be read. Either way nothing of what is cached is right.
	Fence  error
	Broken error

	relinked []relink
	resize   bool // the size has to be found again
	touched  bool // a registered node of the file changed
}

// Touched reports whether the transaction is seen to have touched the file: a
// served block changed, or a node that one depends on.
func (d *Delta) Touched() bool { return d.touched || len(d.Changed) > 0 }

// relink is a block that shows another ZBlk after the commit.
type relink struct {
	blk    int64
	zblk   zodb.Oid
	linked bool
}

// hit is a changed node through which served blocks of a file are reached.
type hit struct {
	oid zodb.Oid
	reg registration
}

// Diff compares the old view with the new one and returns what changed in which
// file, in the order of oids of the files. All files must be prepared. An error
// means that nothing is known: the commit must be tried again.
func (c *Commit) Diff(ctx context.Context) ([]*Delta, error) {
	deltas := make(map[*File]*Delta)
	of := func(f *File) *Delta {
		d := deltas[f]
		if d == nil {
			d = &Delta{File: f}
			deltas[f] = d
		}
		return d
	}
	hits, blocks := c.hits()
	for _, u := range blocks {
		d := of(u.file)
		d.Changed = append(d.Changed, u.blk)
	}
	byFile := make(map[*File][]hit)
	for _, h := range hits {
		byFile[h.reg.file] = append(byFile[h.reg.file], h)
	}
	for f, hits := range byFile {
		if err := c.diffFile(ctx, of(f), hits); err != nil {
			return nil, err
		}
	}
	return c.finish(ctx, deltas)
}

// hits returns what of the registry the transaction touches.
func (c *Commit) hits() (hits []hit, blocks []user) {
	h := c.history
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, oid := range c.oids {
		for _, reg := range h.nodes[oid] {
			hits = append(hits, hit{oid, reg})
		}
		if u, ok := h.zblks[oid]; ok {
			blocks = append(blocks, u.first)
			for other := range u.more {
				blocks = append(blocks, other)
			}
		}
	}
	return hits, blocks
}

// finish completes the deltas with object and size.
func (c *Commit) finish(ctx context.Context, deltas map[*File]*Delta) ([]*Delta, error) {
	all := make([]*Delta, 0, len(deltas))
	for _, d := range deltas {
		f := d.File
		f.Lock()
		if d.Obj == nil {
			d.Obj = f.obj
		}
		d.Size = f.size
		f.Unlock()
		if d.resize && d.Fence == nil && d.Broken == nil {
			if err := c.resize(ctx, d); err != nil {
				return nil, err
			}
		}
		slices.Sort(d.Changed)
		d.Changed = slices.Compact(d.Changed)
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *Delta) int { return cmp.Compare(a.File.Oid, b.File.Oid) })
	return all, nil
}

// resize finds the size after the commit.
func (c *Commit) resize(ctx context.Context, d *Delta) error {
	size, path, err := bigfile.Size(ctx, c.history.objs, d.Obj, c.tid)
	if damage(err) {
		d.Broken = err
		return nil
	}
	if err != nil {
		return err
	}
	d.Size = size
	c.history.register(d.File, path)
	return nil
}

// DiffFresh returns what the commit means for a file that was opened at the old
// view after Diff had looked. Its blocks are all late.
func (c *Commit) DiffFresh(ctx context.Context, f *File) (*Delta, error) {
	d := &Delta{File: f, resize: true}
	if _, ok := c.changed[f.Oid]; ok {
		if _, err := c.diffObject(ctx, d); err != nil {
			return nil, err
		}
	}
	all, err := c.finish(ctx, map[*File]*Delta{f: d})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// damage reports whether err concerns one file only: what it refers to cannot
// be right. Anything else concerns the database.
func damage(err error) bool {
	var corrupt *storage.CorruptError
	return errors.As(err, &corrupt) || errors.Is(err, bigfile.ErrTooBig)
}

// diffFile finds the served blocks of one file that the changed nodes route
// differently.
func (c *Commit) diffFile(ctx context.Context, d *Delta, hits []hit) error {
	d.resize, d.touched = true, true
	var candidates []int64
	for _, h := range hits {
		var blks []int64
		var err error
		if h.oid == d.File.Oid {
			blks, err = c.diffObject(ctx, d)
		} else {
			blks, err = c.diffNode(ctx, d.File, h)
		}
		if damage(err) {
			d.Broken = err
			return nil
		}
		if err != nil {
			return err
		}
		if d.Fence != nil {
			return nil
		}
		candidates = append(candidates, blks...)
	}
	slices.Sort(candidates)
	return c.relook(ctx, d, slices.Compact(candidates))
}

// diffObject compares the ZBigFile itself. Another block table is a change of
// all blocks: a block cannot be older than what links it.
func (c *Commit) diffObject(ctx context.Context, d *Delta) (candidates []int64, err error) {
	f := d.File
	f.Lock()
	was := *f.obj
	f.Unlock()
	obj, _, err := c.history.objs.File(ctx, zodb.Xid{At: c.tid, Oid: f.Oid})
	var other *bigfile.NotBigFileError
	switch {
	case storage.IsNoData(err) || errors.As(err, &other):
		d.Fence = fmt.Errorf("ZBigFile %s is gone @%s: %w", f.Oid, c.tid, err)
		return nil, nil
	case err != nil:
		return nil, err
	case obj.BlkSize != was.BlkSize:
		d.Fence = fmt.Errorf("block size of ZBigFile %s changed @%s: %d -> %d", f.Oid, c.tid, was.BlkSize, obj.BlkSize)
		return nil, nil
	}
	d.Obj = obj
	if obj.Table != was.Table {
		candidates = f.servedIn(math.MinInt64, math.MaxInt64)
		d.Changed = append(d.Changed, candidates...)
	}
	return candidates, nil
}

// diffNode returns the served blocks that a changed node may route differently.
func (c *Commit) diffNode(ctx context.Context, f *File, h hit) ([]int64, error) {
	a, _, err := c.history.objs.Node(ctx, zodb.Xid{At: c.old, Oid: h.oid})
	if err != nil {
		return nil, err
	}
	b, _, err := c.history.objs.Node(ctx, zodb.Xid{At: c.tid, Oid: h.oid})
	if err != nil {
		return nil, err
	}
	switch {
	case a.Leaf() && b.Leaf():
		return f.servedOf(differentKeys(a, b, h.reg.lo, h.reg.hi)), nil
	case a.Leaf() != b.Leaf():
		return f.servedIn(h.reg.lo, h.reg.hi), nil
	}
	var blks []int64
	for _, r := range differentRoutes(a, b, h.reg.lo, h.reg.hi) {
		blks = append(blks, f.servedIn(r.lo, r.hi)...)
	}
	return blks, nil
}

// differentKeys returns the keys in [lo, hi] that leaves a and b map to
// different values, or that only one of them has.
func differentKeys(a, b *btree.Node, lo, hi int64) (keys []int64) {
	ak, bk := a.Keys(), b.Keys()
	i, _ := slices.BinarySearch(ak, lo)
	j, _ := slices.BinarySearch(bk, lo)
	for i < len(ak) && ak[i] <= hi || j < len(bk) && bk[j] <= hi {
		switch {
		case j == len(bk) || i < len(ak) && ak[i] < bk[j]:
			keys = append(keys, ak[i])
			i++
		case i == len(ak) || bk[j] < ak[i]:
			keys = append(keys, bk[j])
			j++
		default:
			if a.Oids()[i] != b.Oids()[j] {
				keys = append(keys, ak[i])
			}
			i++
			j++
		}
	}
	return keys
}

// route is an interval of keys that a node gives to a child.
type route struct {
	lo, hi int64
	child  zodb.Oid
}

// differentRoutes returns the routes within [lo, hi] that only one of the inner
// nodes a and b has.
func differentRoutes(a, b *btree.Node, lo, hi int64) (different []route) {
	only := make(map[route]int)
	for side, n := range []*btree.Node{a, b} {
		for i := range n.Oids() {
			child, clo, chi := n.Child(i, lo, hi)
			if clo <= chi {
				only[route{clo, chi, child}] |= 1 << side
			}
		}
	}
	for r, sides := range only {
		if sides != 3 {
			different = append(different, r)
		}
	}
	return different
}

// relook looks the candidates up in the new view. Their new paths are
// registered even where nothing changed, since later changes come that way.
func (c *Commit) relook(ctx context.Context, d *Delta, candidates []int64) error {
	f := d.File
	for _, blk := range candidates {
		w, err := c.history.Walk(ctx, f.Oid, blk, c.tid)
		if damage(err) {
			d.Broken = err
			return nil
		}
		if err != nil {
			return err
		}
		c.history.register(f, w.Path)
		f.Lock()
		s, ok := f.served.Get(blk)
		moved := ok && (s.linked != w.OK || s.zblk != w.ZBlk)
		f.Unlock()
		if moved {
			d.Changed = append(d.Changed, blk)
			d.relinked = append(d.relinked, relink{blk, w.ZBlk, w.OK})
		}
	}
	return nil
}

// servedIn returns the served blocks in [lo, hi].
func (f *File) servedIn(lo, hi int64) (blks []int64) {
	f.Lock()
	defer f.Unlock()
	f.served.Ascend(lo, func(blk int64, _ *served) bool {
		if blk > hi {
			return false
		}
		blks = append(blks, blk)
		return true
	})
	return blks
}

// servedOf returns those of keys that are served.
func (f *File) servedOf(keys []int64) []int64 {
	f.Lock()
	defer f.Unlock()
	return slices.DeleteFunc(keys, func(blk int64) bool { return !f.IsServed(blk) })
}

// Late is the blocks of a file that were served during a commit. They have to
// be settled; until then they count as changed.
type Late struct {
	Blks  []int64
	table bool // the file got another block table: all of them changed
}

// Switch makes f show the new view. d is its delta, or nil if there is none.
// Requires: lock of f.
func (c *Commit) Switch(f *File, d *Delta) (late Late) {
	late.Blks, f.late = f.late, nil
	f.committing = false
	f.view = c.tid
	if d != nil {
		late.table = d.Obj.Table != f.obj.Table
		f.obj, f.size = d.Obj, d.Size
		if d.Fence != nil || d.Broken != nil {
			c.dropAll(f)
			return Late{}
		}
		c.switchBlocks(f, d)
	}
	for _, blk := range late.Blks {
		if s, ok := f.served.Get(blk); ok {
			s.unsure, s.ub = true, c.tid
		}
	}
	return late
}

func (c *Commit) switchBlocks(f *File, d *Delta) {
	tail := c.history.objs.Tail()
	for _, blk := range d.Changed {
		if s, ok := f.served.Get(blk); ok {
			s.change(c.tid, tail)
		}
	}
	for _, r := range d.relinked {
		if s, ok := f.served.Get(r.blk); ok {
			s.relink(c.history, f, r)
		}
	}
}

// relink makes s show another ZBlk.
func (s *served) relink(h *History, f *File, r relink) {
	if s.linked {
		h.unlink(s.zblk, f, r.blk)
	}
	s.zblk, s.linked = r.zblk, r.linked
	if s.linked {
		h.link(s.zblk, f, r.blk)
	}
}

// dropAll forgets all served blocks. Requires: lock of f.
func (c *Commit) dropAll(f *File) {
	f.served.Scan(func(blk int64, s *served) bool {
		if s.linked {
			c.history.unlink(s.zblk, f, blk)
		}
		return true
	})
	f.served = tbtree.Map[int64, *served]{}
}

// Settle finds out which late blocks the commit changed. They were served at
// the old view after Diff had looked.
func (c *Commit) Settle(ctx context.Context, f *File, late Late) error {
	for _, blk := range late.Blks {
		w, err := c.history.Walk(ctx, f.Oid, blk, c.tid)
		if damage(err) {
			f.Lock()
			f.Drop(blk) // reading it tells what is wrong
			f.Unlock()
			continue
		}
		if err != nil {
			return err
		}
		c.history.register(f, w.Path)
		f.Lock()
		if s, ok := f.served.Get(blk); ok && s.unsure {
			c.settle(f, s, blk, w, late.table)
		}
		f.Unlock()
	}
	return nil
}

// settle decides about one late block. Requires: lock of f.
func (c *Commit) settle(f *File, s *served, blk int64, w *Walk, table bool) {
	_, rewritten := c.changed[s.zblk]
	moved := s.linked != w.OK || s.zblk != w.ZBlk
	if moved || table || s.linked && rewritten {
		s.change(c.tid, c.history.objs.Tail())
	}
	if moved {
		s.relink(c.history, f, relink{blk, w.ZBlk, w.OK})
	}
	s.unsure = false
}

// fileStep is the ZBigFile as the first step of a path.
func fileStep(oid zodb.Oid, serial zodb.Tid) []btree.Step {
	return []btree.Step{{Oid: oid, Serial: serial, Lo: math.MinInt64, Hi: math.MaxInt64}}
}
