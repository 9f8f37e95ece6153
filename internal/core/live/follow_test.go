package live

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var (
	histories = flag.Int("histories", defaultHistories, "how many random histories to check")
	firstSeed = flag.Uint64("seed", 0, "seed of the first random history, or schedule")
)

// TestHistoryAgreesWithBruteForce runs random transactions over random trees,
// with random blocks served at random times, also in the middle of commits, and
// compares changes, sizes, revisions and slices with full maps of every view.
func TestHistoryAgreesWithBruteForce(t *testing.T) {
	const steps = 12
	seeds := make(chan uint64)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for seed := range seeds {
				if err := runHistory(t.Context(), seed, steps); err != nil {
					t.Errorf("seed %d: %s\nrepeat: go test ./internal/core/live -run BruteForce -histories 1 -seed %d", seed, err, seed)
				}
			}
		})
	}
	for i := range uint64(*histories) {
		if t.Failed() {
			break
		}
		seeds <- *firstSeed + i
	}
	close(seeds)
	workers.Wait()
}

// TestLongHistoriesAgreeWithBruteForce is the same with fewer and longer ones.
func TestLongHistoriesAgreeWithBruteForce(t *testing.T) {
	for seed := range uint64(*histories / 100) {
		require.NoError(t, runHistory(t.Context(), 1_000_000+seed, 120), "seed %d", 1_000_000+seed)
	}
}

// run is one history under test next to its oracle.
type run struct {
	ctx   context.Context
	w     *world
	o     *oracle
	objs  *versions.Objects
	h     *Head
	files map[zodb.Oid]*File
	packs *packedDatabase // nil: the database is not packed
}

func runHistory(ctx context.Context, seed uint64, steps int) error {
	w := newWorld(seed)
	for range []int{0, 3, 8}[w.rnd.IntN(3)] {
		w.step()
	}
	budget := int64(1 << 20)
	if w.chance(0.3) {
		budget = 3000 // most nodes do not fit
	}
	r := &run{ctx: ctx, w: w, o: &oracle{w.db, make(map[fileAt]fullMap)}, files: make(map[zodb.Oid]*File)}
	r.objs = versions.NewObjects(ctx, w.db, w.db.head, budget)
	defer r.objs.Close()
	var stop func()
	r.h, stop = newHead(ctx, r.objs, w.db, w.db.head)
	defer stop()
	if w.chance(0.3) {
		r.h.revs.SetRoutesBudget(w.rnd.IntN(200))
	}
	for step := range steps {
		err := r.step()
		var corrupt *storage.CorruptError
		if errors.As(err, &corrupt) {
			return nil // a node linked twice below a root of old: no more to see
		}
		if err != nil {
			return fmt.Errorf("step %d @%d: %w", step, w.db.head, err)
		}
	}
	return nil
}

func (r *run) step() error {
	for _, oid := range []zodb.Oid{file0, file1} {
		if err := r.open(oid); err != nil {
			return err
		}
		r.serveSome(oid, 3)
	}
	if err := r.commit(); err != nil {
		return err
	}
	if r.w.chance(0.3) {
		if err := r.checkRevisions(); err != nil {
			return err
		}
	}
	if r.w.chance(0.1) {
		r.dropSome()
	}
	if r.w.chance(0.15) {
		if err := r.sweep(); err != nil {
			return err
		}
	}
	if r.w.chance(0.1) {
		r.objs.Forget(r.anyTid(r.objs.Tail()))
	}
	if r.w.chance(0.02) {
		r.h.revs.SetFloor(r.anyTid(r.h.revs.Floor()))
	}
	return nil
}

// anyTid returns some tid from..head.
func (r *run) anyTid(from zodb.Tid) zodb.Tid {
	tids := r.w.db.tids
	i, _ := slices.BinarySearch(tids, from)
	return tids[i+r.w.rnd.IntN(len(tids)-i)]
}

func (r *run) open(oid zodb.Oid) error {
	view := r.objs.Head()
	if r.files[oid] != nil || !r.o.at(oid, view).exists || r.w.chance(0.5) {
		return nil
	}
	f, err := r.h.Open(r.ctx, oid)
	if err != nil {
		return err
	}
	r.files[oid] = f
	return r.checkSize(f)
}

func (r *run) checkSize(f *File) error {
	if want := r.o.size(f.Oid, f.blocks.View) * f.blocks.Obj.BlkSize; f.blocks.Size != want {
		return fmt.Errorf("file %d: size %d, is %d", f.Oid, f.blocks.Size, want)
	}
	return nil
}

// serveSome serves up to n blocks of a file, at the view it shows.
func (r *run) serveSome(oid zodb.Oid, n int) {
	f := r.files[oid]
	if f == nil {
		return
	}
	for range r.w.rnd.IntN(n + 1) {
		blk := r.w.rnd.Int64N(keySpace + 2)
		walk, err := r.h.revs.Walk(r.ctx, oid, blk, f.blocks.View)
		if r.mayBeGone(err, f.blocks.View) {
			continue
		}
		if err != nil {
			panic(err)
		}
		if r.packs != nil && r.missing(walk.Path, f.blocks.View) != nil {
			continue
		}
		var data zodb.Tid
		if walk.OK {
			data = r.w.db.at(walk.ZBlk, f.blocks.View).tid
		}
		f.mu.Lock()
		f.serve(blk, walk, data)
		f.mu.Unlock()
	}
}

func (r *run) dropSome() {
	for _, f := range r.files {
		keys := keysServed(f)
		f.mu.Lock()
		for _, blk := range keys {
			if r.w.chance(0.5) {
				f.drop(blk)
			}
		}
		f.mu.Unlock()
	}
}

// commit makes one transaction and takes it in, with blocks and files turning
// up while it is under way.
func (r *run) commit() error {
	if r.w.chance(0.1) {
		defer r.sweepMeanwhile()()
	}
	tid, oids := r.w.step()
	early := make(map[*File][]int64)
	for _, f := range r.files {
		early[f] = keysServed(f)
	}
	t := r.h.begin(storage.Event{Tid: tid, Oids: oids})
	r.serveSome(file0, 2)
	r.packSome()
	if err := t.diff(r.ctx); err != nil {
		return err
	}
	r.packSome()
	r.serveSome(file1, 2)
	r.serveSome(file0, 1)
	r.openDuring(t.old)
	for _, c := range t.files {
		if c.delta != nil && c.delta.broken != nil {
			return fmt.Errorf("file %d: %w", c.file.Oid, c.delta.broken)
		}
	}
	if err := t.switchAll(r.ctx); err != nil {
		return err
	}
	for _, c := range t.all() {
		if err := r.checkChange(c, early[c.file]); err != nil {
			return err
		}
	}
	r.h.publish([]zodb.Tid{tid})
	return nil
}

// openDuring opens file1 at the old view in the middle of a commit.
func (r *run) openDuring(old zodb.Tid) {
	if r.files[file1] != nil || !r.o.at(file1, old).exists || r.w.chance(0.5) {
		return
	}
	f, err := r.h.Open(r.ctx, file1)
	if r.mayBeGone(err, old) {
		return
	}
	if err != nil {
		panic(err)
	}
	r.files[file1] = f
	r.serveSome(file1, 3)
}

// checkChange checks what is said to have changed in a file that was switched.
func (r *run) checkChange(c *change, early []int64) error {
	f, d, tid, old := c.file, c.delta, c.tx.tid, c.tx.old
	now, was := r.o.at(f.Oid, tid), r.o.at(f.Oid, old)
	fenced := !now.exists || now.blksize != was.blksize
	if got := d != nil && d.fence != nil; got != fenced {
		return fmt.Errorf("file %d: fenced: %v, must be: %v", f.Oid, got, fenced)
	}
	if fenced {
		delete(r.files, f.Oid)
		return nil
	}
	var got []int64
	if d != nil {
		got = d.Changed
	}
	for _, blk := range early {
		if changed := r.o.changed(f.Oid, blk, tid); changed != slices.Contains(got, blk) && (changed || !r.incomplete(old)) {
			return fmt.Errorf("file %d #%d: changed: %v", f.Oid, blk, changed)
		}
	}
	if err := r.checkUnsettled(f, c.late); err != nil {
		return err
	}
	if err := c.settle(r.ctx); err != nil {
		return err
	}
	for _, blk := range c.late {
		if changed := r.o.changed(f.Oid, blk, tid); changed != f.blocks.ChangedAfter(blk, old) && (changed || !r.incomplete(old)) {
			return fmt.Errorf("file %d late #%d: changed: %v", f.Oid, blk, changed)
		}
	}
	return r.checkSize(f)
}

// checkUnsettled requires that revisions are right also before Settle.
func (r *run) checkUnsettled(f *File, late []int64) error {
	for _, blk := range late {
		if err := cmp.Or(r.checkRev(f, blk, f.blocks.View), r.checkServed(f, blk, r.o.before(f.blocks.View))); err != nil {
			return fmt.Errorf("unsettled: %w", err)
		}
		if ub := f.blocks.UpperBound(blk); ub < r.o.rev(f.Oid, blk, f.blocks.View) {
			return fmt.Errorf("unsettled: file %d #%d: upper bound %d", f.Oid, blk, ub)
		}
	}
	return nil
}

func (r *run) checkRev(f *File, blk int64, at zodb.Tid) error {
	floor := r.floor()
	rev, err := f.BlkRevAt(r.ctx, blk, at)
	if r.mayBeGone(err, at) {
		return nil
	}
	if err != nil {
		return err
	}
	want := r.o.rev(f.Oid, blk, at)
	if rev.Exact && rev.Tid != want || !rev.Exact && (rev.Tid < want || rev.Tid > min(at, floor)) {
		return fmt.Errorf("file %d #%d @%d: revision %v, is %d (floor %d)", f.Oid, blk, at, rev, want, floor)
	}
	if !r.o.at(f.Oid, rev.Tid).exists {
		return fmt.Errorf("file %d #%d @%d: revision %v, but there is no such file then", f.Oid, blk, at, rev)
	}
	if r.packs != nil {
		return r.checkOpens(f.Oid, blk, rev.Tid, at)
	}
	return r.checkRoutes(f, blk, at)
}

// checkRevisions compares revisions at random views and slices of history.
func (r *run) checkRevisions() error {
	for _, f := range r.files {
		for range 2 {
			at := r.anyTid(r.objs.Tail())
			if !r.o.at(f.Oid, at).exists {
				continue
			}
			for range 4 {
				blk := r.w.rnd.Int64N(keySpace + 2)
				if err := cmp.Or(r.checkRev(f, blk, at), r.checkServed(f, blk, at), r.checkServed(f, blk, f.blocks.View)); err != nil {
					return err
				}
			}
			if err := r.checkSlice(f, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSlice requires that no served block that changed after at is left out,
// and that exact revisions sort out those that did not.
func (r *run) checkSlice(f *File, at zodb.Tid) error {
	f.mu.Lock()
	got, all := f.blocks.ChangedSince(at), f.blocks.In(math.MinInt64, math.MaxInt64, math.MaxInt)
	f.mu.Unlock()
	for _, blk := range all {
		changed := r.o.rev(f.Oid, blk, f.blocks.View) > at
		if !slices.Contains(got, blk) {
			if changed {
				return fmt.Errorf("file %d #%d changed after @%d, and is left out", f.Oid, blk, at)
			}
			continue
		}
		rev, err := f.BlkRevAt(r.ctx, blk, f.blocks.View)
		if err != nil {
			return err
		}
		if (rev.Tid > at) != changed && at >= r.floor() {
			return fmt.Errorf("file %d #%d changed after @%d: %v; revision %v", f.Oid, blk, at, changed, rev)
		}
	}
	return nil
}

// Serial implements storage.Serialer, so that data is not loaded for it.
func (d *database) Serial(ctx context.Context, xid zodb.Xid) (zodb.Tid, error) {
	s := d.at(xid.Oid, xid.At)
	if s.kind == 0 {
		return 0, &zodb.NoDataError{Oid: xid.Oid, DeletedAt: s.tid}
	}
	return s.tid, nil
}

var _ storage.Serialer = (*database)(nil)
