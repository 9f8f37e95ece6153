package versions

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"sync"

	tbtree "github.com/tidwall/btree"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
)

// File is one ZBigFile at the newest view: what is served of it, and when that
// changed.
//
// Its mutex is the lock of the file for everybody, the owner of the File
// included. It is held for map operations only: never during a load, a call
// into the kernel or a wait for a client.
type File struct {
	sync.Mutex

	Oid     zodb.Oid
	history *History

	// What follows is guarded by the mutex.
	view   zodb.Tid      // what obj, size and served describe
	obj    *bigfile.File // as of view
	size   int64         // bytes
	served tbtree.Map[int64, *served]
	recent *tbtree.BTreeG[recent] // the same blocks, by their upper bounds

	path       []btree.Step // what size depends on; until Enter
	committing bool         // between Prepare and Switch of a Commit
	late       []int64      // blocks served since Prepare

	// What follows is guarded by the mutex of history.
	nodes nodeSet // registered; nil before Enter and after Leave
	left  int     // how many of them there were after the last sweep
	sweep *sweep  // under way; or nil
}

// served is one block that the kernel may have in its page cache.
type served struct {
	zblk    zodb.Oid   // if linked
	since   zodb.Tid   // view at which it was served first
	ub      zodb.Tid   // no change after it; an upper bound of the revision
	base    zodb.Tid   // revision as of since, once somebody wanted to know
	changes []zodb.Tid // after since, ascending; what the tail does not need is left out
	used    uint32     // when it was read last, by the clock of those who call Touch

	linked bool // false: a hole
	unsure bool // served during a commit; whether that changed it is not known yet
	based  bool // base is known
	exact  bool // base is exact
}

// setBase notes the revision as of since.
func (s *served) setBase(rev Rev) { s.base, s.exact, s.based = rev.Tid, rev.Exact, true }

// OpenFile returns file oid as of view, not entered yet, and the revision of the
// ZBigFile object. It fails if the file does not exist or is something else: see Objects.File.
func (h *History) OpenFile(ctx context.Context, oid zodb.Oid, view zodb.Tid) (f *File, rev zodb.Tid, err error) {
	obj, rev, err := h.objs.File(ctx, zodb.Xid{At: view, Oid: oid})
	if err != nil {
		return nil, 0, err
	}
	f = &File{Oid: oid, history: h, view: view, obj: obj, recent: newRecent()}
	size, path, err := bigfile.Size(ctx, h.objs, obj, view)
	if err != nil {
		return nil, 0, fmt.Errorf("size: %w", err)
	}
	f.size = size
	f.path = append(fileStep(oid, rev), path...)
	return f, rev, nil
}

// Enter makes commits look at f from now on. It is called once, in the same
// critical section that makes f known to those who commit.
func (f *File) Enter() {
	f.history.mu.Lock()
	f.nodes = make(nodeSet, len(f.path))
	f.history.mu.Unlock()
	f.history.register(f, f.path)
	f.path = nil
}

// Leave makes commits forget f. Requires: lock.
func (f *File) Leave() {
	f.served.Scan(func(blk int64, s *served) bool {
		if s.linked {
			f.history.unlink(s.zblk, f, blk)
		}
		return true
	})
	f.clearServed()
	f.history.unregister(f)
}

// View returns the view that f describes. Requires: lock.
func (f *File) View() zodb.Tid { return f.view }

// Obj returns the ZBigFile. Requires: lock.
func (f *File) Obj() *bigfile.File { return f.obj }

// Size returns the size in bytes. Requires: lock.
func (f *File) Size() int64 { return f.size }

// Served returns how many blocks are served. Requires: lock.
func (f *File) Served() int { return f.served.Len() }

// IsServed reports whether block blk is served. Requires: lock.
func (f *File) IsServed(blk int64) bool {
	_, ok := f.served.Get(blk)
	return ok
}

// Serve notes that block blk may be in the page cache from now on. w is the
// walk to it at View. data is the serial of its ZBlk, 0 for a hole.
// Requires: lock.
func (f *File) Serve(blk int64, w *Walk, data zodb.Tid) {
	if _, ok := f.served.Get(blk); ok {
		return
	}
	s := &served{zblk: w.ZBlk, linked: w.OK, since: f.view}
	if data >= w.Serial() {
		s.setBase(Rev{data, true})
	}
	f.served.Set(blk, s)
	f.setBound(blk, s, max(w.Serial(), data))
	f.history.register(f, w.Path)
	if w.OK {
		f.history.link(w.ZBlk, f, blk)
	}
	if f.committing {
		f.late = append(f.late, blk)
	}
}

// Late returns the blocks that were served since the commit under way has begun; it
// must not be changed. Requires: lock.
func (f *File) Late() []int64 { return f.late }

// Touch notes that served block blk was read now. Requires: lock.
func (f *File) Touch(blk int64, now uint32) {
	if s, ok := f.served.Get(blk); ok {
		s.used = now
	}
}

// Coldest returns up to n neighbouring served blocks from index i of all served
// blocks on, and when the last of them was read. Requires: lock.
func (f *File) Coldest(i, n int) (blks []int64, used uint32) {
	first, _, ok := f.served.GetAt(i)
	if !ok {
		return nil, 0
	}
	f.served.Ascend(first, func(blk int64, s *served) bool {
		blks = append(blks, blk)
		used = max(used, s.used)
		return len(blks) < n
	})
	return blks, used
}

// Since returns a tid since which served block blk has been what it is: its
// revision if that is known, else something between it and View.
// Requires: lock.
func (f *File) Since(blk int64) zodb.Tid {
	s, ok := f.served.Get(blk)
	switch {
	case !ok || s.unsure:
		return f.view
	case len(s.changes) > 0:
		return s.changes[len(s.changes)-1]
	case s.based:
		return s.base
	}
	return s.since
}

// Drop notes that block blk has left the page cache. Requires: lock.
func (f *File) Drop(blk int64) {
	s, ok := f.served.Delete(blk)
	if !ok {
		return
	}
	f.recent.Delete(recent{s.ub, blk})
	if s.linked {
		f.history.unlink(s.zblk, f, blk)
	}
}

// ChangedAfter reports whether block blk changed, or may have changed, in
// (at, View]. A block that is not served may have. Requires: lock.
func (f *File) ChangedAfter(blk int64, at zodb.Tid) bool {
	if at >= f.view {
		return false
	}
	s, ok := f.served.Get(blk)
	if !ok || s.unsure || at < s.since {
		return true
	}
	return len(s.changes) > 0 && s.changes[len(s.changes)-1] > at
}

// UpperBound returns a tid after which served block blk did not change.
// Requires: lock.
func (f *File) UpperBound(blk int64) zodb.Tid {
	s, ok := f.served.Get(blk)
	if !ok {
		return f.view
	}
	return s.ub
}

// known returns the revision of block blk as of view at if that needs no loads.
// Requires: lock.
func (f *File) known(blk int64, at zodb.Tid) (rev Rev, ok bool) {
	s, ok := f.served.Get(blk)
	if !ok || s.unsure || at < s.since {
		return Rev{}, false
	}
	complete := f.history.objs.packs.now().complete
	if at < complete {
		return Rev{}, false // what is left of that view has to be looked up
	}
	if i := after(s.changes, at); i > 0 {
		return above(complete, Rev{s.changes[i-1], true}, at), true
	}
	return above(complete, Rev{s.base, s.exact}, at), s.based
}

// BlkRevAt returns the revision of block blk as of view at, which must be one
// at which the file exists. Of a view that a pack has left incomplete it is the view
// itself, or the error is a *storage.PackedError if something of it is gone that the
// block needs.
func (f *File) BlkRevAt(ctx context.Context, blk int64, at zodb.Tid) (Rev, error) {
	for {
		f.Lock()
		complete := f.history.objs.packs.now().complete
		rev, ok := f.known(blk, at)
		s, isServed := f.served.Get(blk)
		sure, view := isServed && !s.unsure && at >= s.since, at
		if sure && at >= complete {
			view = max(s.since, complete) // nothing changed in between, else it would be known
		}
		f.Unlock()
		if ok {
			return rev, nil
		}
		rev, err := f.history.revAt(ctx, f.Oid, blk, view)
		if now := f.history.objs.packs.now().complete; now != complete && ctx.Err() == nil {
			continue // packed meanwhile
		}
		if err != nil || !sure {
			return rev, err
		}
		f.Lock()
		if !s.based { // s may have been dropped meanwhile; then nobody looks at it
			s.setBase(rev)
		}
		f.Unlock()
		return rev, nil
	}
}

// ChangedSince returns, in ascending order, the served blocks that may have
// changed in (at, View]: all that did, and some whose revision is not known
// well enough. Requires: lock.
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

// setBound sets the upper bound of block blk. Requires: lock.
func (f *File) setBound(blk int64, s *served, ub zodb.Tid) {
	f.recent.Delete(recent{s.ub, blk})
	s.ub = ub
	f.recent.Set(recent{ub, blk})
}

// clearServed forgets that blocks are served, but not what they show. Requires:
// lock.
func (f *File) clearServed() {
	f.served = tbtree.Map[int64, *served]{}
	f.recent = newRecent()
}

// after returns the index of the first tid in tids that is > at.
func after(tids []zodb.Tid, at zodb.Tid) int {
	return sort.Search(len(tids), func(i int) bool { return tids[i] > at })
}

// change notes that served block blk changed at tid. Changes up to tail are let go, except the
// newest: the block is from then on as if it was served first just after it.
func (f *File) change(blk int64, s *served, tid, tail zodb.Tid) {
	s.changes = append(s.changes, tid)
	f.setBound(blk, s, tid)
	if i := after(s.changes, tail); i > 0 {
		s.since = s.changes[i-1]
		s.setBase(Rev{s.since, true})
		s.changes = slices.Clone(s.changes[i:])
	}
}
