package served

import (
	"math"
	"slices"
	"sort"

	tbtree "github.com/tidwall/btree"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// File is one ZBigFile as of View, and the blocks of it that are served.
type File struct {
	Oid  zodb.Oid
	View zodb.Tid
	Obj  *bigfile.File // as of View
	Size int64         // bytes, as of View

	blocks     tbtree.Map[int64, *block]
	recent     *tbtree.BTreeG[recent] // the same blocks, by their upper bounds
	committing bool                   // between Prepare and Switch
	late       []int64                // blocks served since Prepare
}

// block is one block that the kernel may have in its page cache.
type block struct {
	zblk    zodb.Oid   // if linked
	since   zodb.Tid   // view at which it was served first
	ub      zodb.Tid   // no change after it; an upper bound of the revision
	base    zodb.Tid   // revision as of since, once somebody wanted to know
	changes []zodb.Tid // after since, ascending; what history does not need is left out
	used    uint32     // when it was read last, by the clock of Touch

	linked bool // false: a hole
	unsure bool // served during a commit, which may have changed it
	based  bool // base is known
	exact  bool // base is exact
}

// setBase notes the revision as of since.
func (b *block) setBase(rev versions.Rev) { b.base, b.exact, b.based = rev.Tid, rev.Exact, true }

// New returns a file of which nothing is served yet.
func New(oid zodb.Oid, view zodb.Tid, obj *bigfile.File, size int64) *File {
	return &File{Oid: oid, View: view, Obj: obj, Size: size, recent: newRecent()}
}

// Len returns how many blocks are served.
func (f *File) Len() int { return f.blocks.Len() }

// Has reports whether a block is served.
func (f *File) Has(blk int64) bool {
	_, ok := f.blocks.Get(blk)
	return ok
}

// Serve notes that a block may be in the page cache from now on, and reports whether
// that is new. w is the walk to it at View; data is the serial of its ZBlk, 0 for a
// hole. The caller enters a new one in the Index.
func (f *File) Serve(blk int64, w *versions.Walk, data zodb.Tid) (isNew bool) {
	if f.Has(blk) {
		return false
	}
	b := &block{zblk: w.ZBlk, linked: w.OK, since: f.View}
	if data >= w.Serial() {
		b.setBase(versions.Rev{Tid: data, Exact: true})
	}
	f.blocks.Set(blk, b)
	f.setBound(blk, b, max(w.Serial(), data))
	if f.committing {
		f.late = append(f.late, blk)
	}
	return true
}

// Drop notes that a block has left the page cache. It returns the ZBlk from which the
// Index leads to the block, if it does.
func (f *File) Drop(blk int64) (zblk zodb.Oid, linked bool) {
	b, ok := f.blocks.Delete(blk)
	if !ok {
		return 0, false
	}
	f.recent.Delete(recent{b.ub, blk})
	return b.zblk, b.linked
}

// DropAll is Drop for all blocks. It calls unlink for those that are linked.
func (f *File) DropAll(unlink func(zblk zodb.Oid, blk int64)) {
	f.blocks.Scan(func(blk int64, b *block) bool {
		if b.linked {
			unlink(b.zblk, blk)
		}
		return true
	})
	f.blocks = tbtree.Map[int64, *block]{}
	f.recent = newRecent()
}

// Touch notes that a served block was read now.
func (f *File) Touch(blk int64, now uint32) {
	if b, ok := f.blocks.Get(blk); ok {
		b.used = now
	}
}

// Coldest returns up to n neighbouring served blocks from index i of all served
// blocks on, and when the last of them was read.
func (f *File) Coldest(i, n int) (blks []int64, used uint32) {
	first, _, ok := f.blocks.GetAt(i)
	if !ok {
		return nil, 0
	}
	f.blocks.Ascend(first, func(blk int64, b *block) bool {
		blks = append(blks, blk)
		used = max(used, b.used)
		return len(blks) < n
	})
	return blks, used
}

// In returns the served blocks lo <= blk <= hi, ascending, and most of them at most.
func (f *File) In(lo, hi int64, most int) (blks []int64) {
	f.blocks.Ascend(lo, func(blk int64, _ *block) bool {
		if blk > hi || len(blks) == most {
			return false
		}
		blks = append(blks, blk)
		return true
	})
	return blks
}

// Late returns the blocks that were served since the commit under way has begun; it
// must not be changed.
func (f *File) Late() []int64 { return f.late }

// Since returns a tid since which a served block has been what it is: its revision if
// that is known, else something between it and View.
func (f *File) Since(blk int64) zodb.Tid {
	b, ok := f.blocks.Get(blk)
	switch {
	case !ok || b.unsure:
		return f.View
	case len(b.changes) > 0:
		return b.changes[len(b.changes)-1]
	case b.based:
		return b.base
	}
	return b.since
}

// ChangedAfter reports whether a block changed, or may have changed, in (at, View]. A
// block that is not served may have.
func (f *File) ChangedAfter(blk int64, at zodb.Tid) bool {
	if at >= f.View {
		return false
	}
	b, ok := f.blocks.Get(blk)
	if !ok || b.unsure || at < b.since {
		return true
	}
	return len(b.changes) > 0 && b.changes[len(b.changes)-1] > at
}

// UpperBound returns a tid after which a served block did not change.
func (f *File) UpperBound(blk int64) zodb.Tid {
	b, ok := f.blocks.Get(blk)
	if !ok {
		return f.View
	}
	return b.ub
}

// Known returns the revision of a block as of view at, if it is known.
func (f *File) Known(blk int64, at zodb.Tid) (rev versions.Rev, ok bool) {
	b, ok := f.blocks.Get(blk)
	if !ok || b.unsure || at < b.since {
		return versions.Rev{}, false
	}
	if i := after(b.changes, at); i > 0 {
		return versions.Rev{Tid: b.changes[i-1], Exact: true}, true
	}
	return versions.Rev{Tid: b.base, Exact: b.exact}, b.based
}

// Unchanged returns the view at which a block was served first, if the block is known to
// have been the same from then to view at, for all that Known does not tell.
func (f *File) Unchanged(blk int64, at zodb.Tid) (since zodb.Tid, ok bool) {
	b, ok := f.blocks.Get(blk)
	if !ok || b.unsure || at < b.since {
		return at, false
	}
	return b.since, true
}

// Learn notes the revision of a block as of what Unchanged has returned, unless the block
// was dropped meanwhile.
func (f *File) Learn(blk int64, since zodb.Tid, rev versions.Rev) {
	if b, ok := f.blocks.Get(blk); ok && b.since == since && !b.based {
		b.setBase(rev)
	}
}

// ChangedSince returns, in ascending order, the served blocks that may have changed in
// (at, View]: all that did, and some whose revision is not known well enough.
func (f *File) ChangedSince(at zodb.Tid) (blks []int64) {
	f.recent.Descend(recent{zodb.InvalidTid, math.MaxInt64}, func(r recent) bool {
		if r.ub > at {
			blks = append(blks, r.blk)
		}
		return r.ub > at
	})
	slices.Sort(blks)
	return blks
}

// recent is a served block in the order of upper bounds: a watch has to look at
// the blocks that may have changed since its view, and at no others.
type recent struct {
	ub  zodb.Tid
	blk int64
}

func newRecent() *tbtree.BTreeG[recent] {
	less := func(a, b recent) bool { return a.ub < b.ub || a.ub == b.ub && a.blk < b.blk }
	return tbtree.NewBTreeGOptions(less, tbtree.Options{NoLocks: true})
}

// setBound sets the upper bound of a block.
func (f *File) setBound(blk int64, b *block, ub zodb.Tid) {
	f.recent.Delete(recent{b.ub, blk})
	b.ub = ub
	f.recent.Set(recent{ub, blk})
}

// after returns the index of the first tid in tids that is > at.
func after(tids []zodb.Tid, at zodb.Tid) int {
	return sort.Search(len(tids), func(i int) bool { return tids[i] > at })
}
