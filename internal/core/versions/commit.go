package versions

import (
	"cmp"
	"context"
	"math"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
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
	nodes, blocks := c.history.hits(c.oids)
	for _, u := range blocks {
		d := of(u.file)
		d.Changed = append(d.Changed, u.blk)
	}
	for f, hits := range nodes {
		if err := c.diffFile(ctx, of(f), hits); err != nil {
			return nil, err
		}
	}
	for _, f := range c.history.brokenFiles() {
		readable, err := c.readable(ctx, f)
		if err != nil {
			return nil, err
		}
		if readable {
			d := of(f)
			d.resize, d.touched = true, true
		}
	}
	return c.finish(ctx, deltas)
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

// readable reports whether the size of a file, which could not be found, can be
// found now. What it depends on is not registered: nobody has seen all of it.
func (c *Commit) readable(ctx context.Context, f *File) (bool, error) {
	f.Lock()
	obj := f.obj
	f.Unlock()
	_, _, err := bigfile.Size(ctx, c.history.objs, obj, c.tid)
	if damage(err) {
		return false, nil
	}
	return err == nil, err
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
		if d.resize {
			c.history.setBroken(f, d.Broken != nil)
		}
		if d.Fence != nil || d.Broken != nil {
			c.dropAll(f)
			return Late{}
		}
		c.switchBlocks(f, d)
	}
	for _, blk := range late.Blks {
		if s, ok := f.served.Get(blk); ok {
			s.unsure = true
			f.setBound(blk, s, c.tid)
		}
	}
	return late
}

func (c *Commit) switchBlocks(f *File, d *Delta) {
	tail := c.history.objs.Tail()
	for _, blk := range d.Changed {
		if s, ok := f.served.Get(blk); ok {
			f.change(blk, s, c.tid, tail)
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
	f.clearServed()
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
		f.change(blk, s, c.tid, c.history.objs.Tail())
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
