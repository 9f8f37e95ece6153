package versions

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var (
	histories = flag.Int("histories", defaultHistories, "how many random histories to check")
	firstSeed = flag.Uint64("seed", 0, "seed of the first random history")
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
					t.Errorf("seed %d: %s\nrepeat: go test ./internal/core/versions -run BruteForce -histories 1 -seed %d", seed, err, seed)
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
	objs  *Objects
	h     *History
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
	r.objs = NewObjects(ctx, w.db, w.db.head, budget)
	defer r.objs.Close()
	r.h = NewHistory(r.objs, w.db, w.db.head)
	if w.chance(0.3) {
		r.h.routes.budget = w.rnd.IntN(200)
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
		r.h.SetFloor(r.anyTid(r.h.Floor()))
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
	f, _, err := r.h.OpenFile(r.ctx, oid, view)
	if err != nil {
		return err
	}
	f.Enter()
	r.files[oid] = f
	return r.checkSize(f)
}

func (r *run) checkSize(f *File) error {
	if want := r.o.size(f.Oid, f.view) * f.obj.BlkSize; f.size != want {
		return fmt.Errorf("file %d: size %d, is %d", f.Oid, f.size, want)
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
		walk, err := r.h.Walk(r.ctx, oid, blk, f.view)
		if r.mayBeGone(err, f.view) {
			continue
		}
		if err != nil {
			panic(err)
		}
		if r.packs != nil && r.missing(walk.Path, f.view) != nil {
			continue
		}
		var data zodb.Tid
		if walk.OK {
			data = r.w.db.at(walk.ZBlk, f.view).tid
		}
		f.Lock()
		f.Serve(blk, walk, data)
		f.Unlock()
	}
}

func (r *run) dropSome() {
	for _, f := range r.files {
		f.Lock()
		for _, blk := range f.served.Keys() {
			if r.w.chance(0.5) {
				f.Drop(blk)
			}
		}
		f.Unlock()
	}
}

// commit makes one transaction and takes it in, with blocks and files turning
// up while it is under way.
func (r *run) commit() error {
	if r.w.chance(0.1) {
		defer r.sweepMeanwhile()()
	}
	tid, oids := r.w.step()
	old := r.objs.Head()
	for _, f := range r.files {
		f.Lock()
	}
	c := r.h.Begin(tid, oids)
	early := make(map[zodb.Oid][]int64)
	for oid, f := range r.files {
		c.Prepare(f)
		early[oid] = f.served.Keys()
		f.Unlock()
	}
	r.serveSome(file0, 2)
	r.packSome()
	deltas, err := c.Diff(r.ctx)
	if err != nil {
		return err
	}
	r.packSome()
	r.serveSome(file1, 2)
	r.serveSome(file0, 1)
	fresh := r.openDuring(c, old)

	byFile := make(map[*File]*Delta)
	for _, d := range deltas {
		byFile[d.File] = d
		if d.Broken != nil {
			return fmt.Errorf("file %d: %w", d.File.Oid, d.Broken)
		}
	}
	if fresh != nil {
		d, err := c.DiffFresh(r.ctx, fresh)
		if err != nil {
			return err
		}
		byFile[fresh] = d
	}
	for oid, f := range r.files {
		if err := r.switchFile(c, f, byFile[f], early[oid]); err != nil {
			return err
		}
	}
	return nil
}

// openDuring opens file1 at the old view in the middle of a commit.
func (r *run) openDuring(c *Commit, old zodb.Tid) *File {
	if r.files[file1] != nil || !r.o.at(file1, old).exists || r.w.chance(0.5) {
		return nil
	}
	f, _, err := r.h.OpenFile(r.ctx, file1, old)
	if r.mayBeGone(err, old) {
		return nil
	}
	if err != nil {
		panic(err)
	}
	f.Enter()
	c.Prepare(f)
	r.files[file1] = f
	r.serveSome(file1, 3)
	return f
}

// switchFile switches one file and checks what is said to have changed.
func (r *run) switchFile(c *Commit, f *File, d *Delta, early []int64) error {
	f.Lock()
	late := c.Switch(f, d)
	f.Unlock()
	now, was := r.o.at(f.Oid, c.tid), r.o.at(f.Oid, c.old)
	fenced := !now.exists || now.blksize != was.blksize
	if got := d != nil && d.Fence != nil; got != fenced {
		return fmt.Errorf("file %d: fenced: %v, must be: %v", f.Oid, got, fenced)
	}
	if fenced {
		f.Lock()
		f.Leave()
		f.Unlock()
		delete(r.files, f.Oid)
		return nil
	}
	var got []int64
	if d != nil {
		got = d.Changed
	}
	for _, blk := range early {
		if changed := r.o.changed(f.Oid, blk, c.tid); changed != slices.Contains(got, blk) && (changed || !r.incomplete(c.old)) {
			return fmt.Errorf("file %d #%d: changed: %v", f.Oid, blk, changed)
		}
	}
	if err := r.checkUnsettled(f, late); err != nil {
		return err
	}
	if err := c.Settle(r.ctx, f, late); err != nil {
		return err
	}
	for _, blk := range late.Blks {
		if changed := r.o.changed(f.Oid, blk, c.tid); changed != f.ChangedAfter(blk, c.old) && (changed || !r.incomplete(c.old)) {
			return fmt.Errorf("file %d late #%d: changed: %v", f.Oid, blk, changed)
		}
	}
	return r.checkSize(f)
}

// checkUnsettled requires that revisions are right also before Settle.
func (r *run) checkUnsettled(f *File, late Late) error {
	for _, blk := range late.Blks {
		if err := cmp.Or(r.checkRev(f, blk, f.view), r.checkServed(f, blk, r.o.before(f.view))); err != nil {
			return fmt.Errorf("unsettled: %w", err)
		}
		if ub := f.UpperBound(blk); ub < r.o.rev(f.Oid, blk, f.view) {
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
				if err := cmp.Or(r.checkRev(f, blk, at), r.checkServed(f, blk, at), r.checkServed(f, blk, f.view)); err != nil {
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
	f.Lock()
	got, all := f.ChangedSince(at), f.served.Keys()
	f.Unlock()
	for _, blk := range all {
		changed := r.o.rev(f.Oid, blk, f.view) > at
		if !slices.Contains(got, blk) {
			if changed {
				return fmt.Errorf("file %d #%d changed after @%d, and is left out", f.Oid, blk, at)
			}
			continue
		}
		rev, err := f.BlkRevAt(r.ctx, blk, f.view)
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
