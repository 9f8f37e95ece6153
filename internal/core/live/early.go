package live

import (
	"context"
	"errors"
	"slices"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// A pin is sent when somebody reads a block. For some blocks that is too late, so a
// commit has them pinned before it takes effect:
//
//   - What a file loses: see shrink.go.
//   - What changes, and was read a moment ago. A page fault looks at its page twice
//     (filemap_fault of Linux): for what is not there it waits without the lock of the
//     memory map of its process, and then looks again. If an invalidation came in between,
//     it reads again and waits with that lock held. The pinner of a client cannot map
//     anything then, and a READ that waits for this client is never answered.
//
// The second kind is rare and costs a look at the threads of clients: only a client of
// which a thread may be in a fault gets such a pin. Until the switch no READ of what
// changes is answered: there would always be one more.

const (
	// earlyPatience is how long a commit waits for clients to pin such blocks. It does
	// not wait for a client that has not answered the one before.
	earlyPatience = 500 * time.Millisecond

	// freshFor is for how long a thread may not have got to look at what was read
	// for it, on a busy machine.
	freshFor = time.Second

	// watchFor is how long threads are watched, and watchEvery how often, to see them
	// outside of the fault that they may be in.
	watchFor   = 10 * time.Millisecond
	watchEvery = time.Millisecond
)

// Process is a Client that is known to belong to a process.
type Process interface{ Pid() int }

// answered is a READ of a block that was answered.
type answered struct {
	blk int64
	at  time.Time
}

// early is a block that a watch has to have pinned, as of some view.
type early struct {
	watch *Watch
	at    zodb.Tid
	blk   int64
	lost  bool // the file loses it: the client is waited for each time, or may get SIGBUS
}

// closing is the blocks that a commit is about to change.
type closing struct {
	changed []int64 // ascending
	whole   bool    // all of them
	late    map[int64]struct{}
}

func (c *closing) has(blk int64) bool {
	if c == nil {
		return false
	}
	_, late := c.late[blk]
	_, found := slices.BinarySearch(c.changed, blk)
	return late || found || c.whole
}

// noteAnswered notes that a READ was answered, if that may matter.
func (a *attempt) noteAnswered() {
	a.file.mu.MustHold()
	f, now := a.file, time.Now()
	if len(f.watches) == 0 || a.read.direct {
		return
	}
	f.dropStale(now)
	for _, e := range a.read.extents {
		f.answered = append(f.answered, answered{e.Blk, now})
	}
}

// dropStale forgets READs that were answered long ago.
func (f *File) dropStale(now time.Time) {
	f.mu.MustHold()
	for len(f.answered) > 0 && now.Sub(f.answered[0].at) > freshFor {
		f.answered = f.answered[1:]
	}
}

// closed reports whether the READ has to wait for the switch.
func (a *attempt) closed() bool {
	a.file.mu.MustHold()
	f := a.file
	if f.closing == nil || a.read.direct {
		return false
	}
	return slices.ContainsFunc(a.read.extents, func(e bigfile.Extent) bool { return f.closing.has(e.Blk) })
}

// pinEarly has watchers pin what cannot wait. If the database goes away meanwhile, nobody
// waits for the switch until it is back: then all is looked at anew.
func (t *transaction) pinEarly(ctx context.Context, changes []*change) {
	for {
		f, e := t.tryPinEarly(ctx, changes)
		if f == nil || ctx.Err() != nil {
			return
		}
		for _, c := range changes {
			c.file.reopen()
		}
		_ = t.retry(ctx, func() error {
			if _, err := f.pinRev(ctx, e.blk, e.at); isAway(err) {
				return err
			}
			return nil
		})
	}
}

// tryPinEarly pins, and waits for clients a little: for all of them together not longer
// than earlyPatience. It returns what could not be looked up since the database was away.
func (t *transaction) tryPinEarly(ctx context.Context, changes []*change) (away *File, unknown early) {
	all, fresh := make(map[*File][]early), make(map[*File][]early)
	for _, c := range changes {
		lost, read := c.early()
		if len(lost) > 0 {
			all[c.file] = lost
		}
		if len(read) > 0 {
			fresh[c.file] = read
		}
	}
	faulting := t.head.faulting(ctx, fresh)
	for f, list := range fresh {
		list = slices.DeleteFunc(list, func(e early) bool { return !faulting[pidOf(e.watch)] })
		if len(list) > 0 {
			all[f] = append(all[f], list...)
		}
	}
	for f, list := range all {
		if e, ok := t.pin(ctx, f, list); !ok {
			return f, e
		}
	}
	waiting, cancel := context.WithTimeout(ctx, earlyPatience)
	defer cancel()
	for f, list := range all {
		if f.await(waiting, func() bool { return f.arePinned(list) }) != nil {
			f.noteOverdue(list)
		}
	}
	return nil, early{}
}

// reopen takes back that READs and setups wait for the switch.
func (f *File) reopen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutting, f.closing = false, nil
	f.broadcast()
}

// early lists what has to be pinned since the file loses it, and since it was just read.
// From here until the switch no watch is set up if the file becomes shorter, and no READ
// of what changes is answered if there are watches.
func (c *change) early() (lost, fresh []early) {
	if c.delta == nil || c.delta.fence != nil {
		return nil, nil
	}
	f := c.file
	f.mu.Lock()
	defer f.mu.Unlock()
	shorter := !c.delta.whole() && c.delta.Size < f.served().Size
	f.cutting = f.cutting || shorter
	if len(f.watches) == 0 {
		return nil, nil
	}
	f.closing = &closing{changed: c.delta.Changed, whole: c.delta.whole(), late: make(map[int64]struct{})}
	for _, blk := range f.served().Late() {
		f.closing.late[blk] = struct{}{}
	}
	if shorter {
		lost = f.onHead(f.lost(c.delta.Size), true)
	}
	return lost, f.onHead(f.fresh(), false)
}

// fresh returns the blocks that are about to change and were read a moment ago.
func (f *File) fresh() (blks []int64) {
	f.mu.MustHold()
	f.dropStale(time.Now())
	for _, a := range f.answered {
		if f.closing.has(a.blk) {
			blks = append(blks, a.blk)
		}
	}
	slices.Sort(blks)
	return slices.Compact(blks)
}

// onHead lists which watches may map which of blks from head, and of what is lost also
// those that are to: a watch that moves is told so.
func (f *File) onHead(blks []int64, lost bool) (all []early) {
	f.mu.MustHold()
	for _, blk := range blks {
		for w := range f.watches {
			if w.mayMapHead(blk) || lost && w.pins[blk].want == ToHead {
				all = append(all, early{w, w.at, blk, lost})
			}
		}
	}
	return all
}

func pidOf(w *Watch) int {
	if p, ok := w.client.(Process); ok {
		return p.Pid()
	}
	return 0
}

// faulting returns which of the processes that have fresh blocks may be in a page fault,
// after having watched their threads for a moment.
func (h *Head) faulting(ctx context.Context, fresh map[*File][]early) map[int]bool {
	if len(fresh) == 0 {
		return nil
	}
	threads := make(map[int]map[int]uint64)
	for _, list := range fresh {
		for _, e := range list {
			if pid := pidOf(e.watch); pid != 0 && threads[pid] == nil {
				threads[pid] = h.cfg.Processes.Faulting(pid)
			}
		}
	}
	for deadline := time.Now().Add(watchFor); ; {
		left := make(map[int]bool)
		for pid, suspects := range threads {
			if len(suspects) > 0 {
				left[pid] = true
			}
		}
		if len(left) == 0 || time.Now().After(deadline) || sleep(ctx, watchEvery) != nil {
			return left
		}
		for pid := range left {
			now := h.cfg.Processes.Faulting(pid)
			for tid, mark := range threads[pid] {
				if m, ok := now[tid]; !ok || m != mark {
					delete(threads[pid], tid)
				}
			}
		}
	}
}

// pin makes the revisions of the views of watches what their clients should map.
// A watch of a view that was packed away is lost. A block whose revision cannot be
// found for another reason cannot be read by the client anyway, unless the database is
// away: then it is returned.
func (t *transaction) pin(ctx context.Context, f *File, list []early) (unknown early, ok bool) {
	for _, e := range list {
		rev, err := f.pinAt(ctx, e.blk, e.at)
		var packed *storage.PackedError
		switch {
		case ctx.Err() != nil:
			return early{}, true
		case isAway(err):
			return e, false
		case errors.As(err, &packed):
			e.watch.lose(e.blk, e.at, err)
		case err != nil:
			t.head.cfg.Observer.Warnf("transaction @%s: pin block #%d of %s before it changes: %s", t.tid, e.blk, f.Oid, err)
		default:
			e.want(rev)
		}
	}
	return early{}, true
}

// want makes rev what the client should map, if the watch is still at the view.
func (e early) want(rev zodb.Tid) {
	f := e.watch.file
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case e.watch.removed || e.watch.at != e.at:
	case e.lost: // there may be many, and no READ waits
		e.watch.setWant(e.blk, rev)
	default:
		e.watch.need(e.blk, rev)
	}
}

// arePinned reports whether no client maps the blocks from head that is worth waiting
// for.
func (f *File) arePinned(list []early) bool {
	f.mu.MustHold()
	return !slices.ContainsFunc(list, func(e early) bool { return (e.lost || !e.watch.overdue) && e.isMapped() })
}

// isMapped reports whether the client may still map the block from head.
func (e early) isMapped() bool {
	e.watch.file.mu.MustHold()
	w := e.watch
	return !w.removed && w.established && w.at == e.at && w.mayMapHead(e.blk)
}

// noteOverdue notes which watches were waited for in vain.
func (f *File) noteOverdue(list []early) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range list {
		e.watch.overdue = e.watch.overdue || e.isMapped()
	}
}
