package served

import (
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// Prepare begins a commit: blocks that are served from now on are late.
func (f *File) Prepare() {
	f.committing, f.late = true, nil
}

// Committing reports whether a commit is prepared and not switched yet.
func (f *File) Committing() bool { return f.committing }

// Link is what a served block shows.
type Link struct {
	Blk    int64
	ZBlk   zodb.Oid // if Linked
	Linked bool     // false: a hole
}

// LinkOf returns the link of a walk to a block.
func LinkOf(blk int64, w *versions.Walk) Link { return Link{blk, w.ZBlk, w.OK} }

// Moved reports whether a block is served and shows something else than link says.
func (f *File) Moved(link Link) bool {
	b, ok := f.blocks.Get(link.Blk)
	return ok && !b.shows(link)
}

func (b *block) shows(link Link) bool { return b.linked == link.Linked && b.zblk == link.ZBlk }

// Delta is what a commit means for a file.
type Delta struct {
	Changed  []int64 // served blocks that changed, ascending
	Relinked []Link  // those of them that show something else, with what they show now

	// Obj is the ZBigFile after the commit, and Size the size in bytes.
	Obj  *bigfile.File
	Size int64
}

// Switch makes f show view tid. Changes up to tail are let go, but for the newest one
// of a block. It returns the late blocks, which have to be settled, and calls relink
// for blocks that showed something else before. d is nil if nothing changed.
func (f *File) Switch(tid, tail zodb.Tid, d *Delta, relink func(was, is Link)) (late []int64) {
	late, f.late = f.late, nil
	f.committing = false
	f.View = tid
	if d != nil {
		f.Obj, f.Size = d.Obj, d.Size
		for _, blk := range d.Changed {
			f.change(blk, tid, tail)
		}
		for _, link := range d.Relinked {
			f.relink(link, relink)
		}
	}
	for _, blk := range late {
		if b, ok := f.blocks.Get(blk); ok {
			b.unsure = true
			f.setBound(blk, b, tid)
		}
	}
	return late
}

// Settle decides about a late block, given what it shows as of View. changed says
// whether a block that shows the same has changed all the same.
func (f *File) Settle(link Link, changed func(zblk zodb.Oid, linked bool) bool, tail zodb.Tid, relink func(was, is Link)) {
	b, ok := f.blocks.Get(link.Blk)
	if !ok || !b.unsure {
		return
	}
	if !b.shows(link) || changed(b.zblk, b.linked) {
		f.change(link.Blk, f.View, tail)
	}
	f.relink(link, relink)
	b.unsure = false
}

// relink makes a block show something else.
func (f *File) relink(link Link, relink func(was, is Link)) {
	b, ok := f.blocks.Get(link.Blk)
	if !ok || b.shows(link) {
		return
	}
	was := Link{link.Blk, b.zblk, b.linked}
	b.zblk, b.linked = link.ZBlk, link.Linked
	relink(was, link)
}

// change notes that a served block changed at tid. Changes up to tail are let go, except
// the newest: the block is from then on as if it was served first just after it.
func (f *File) change(blk int64, tid, tail zodb.Tid) {
	b, ok := f.blocks.Get(blk)
	if !ok {
		return
	}
	b.changes = append(b.changes, tid)
	f.setBound(blk, b, tid)
	if i := after(b.changes, tail); i > 0 {
		b.since = b.changes[i-1]
		b.setBase(versions.Rev{Tid: b.since, Exact: true})
		b.changes = slices.Clone(b.changes[i:])
	}
}
