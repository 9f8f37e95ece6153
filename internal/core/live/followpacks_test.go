package live

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// packedDatabase is a database that is packed now and then: views before complete see
// what a pack up to there has left, all others what there was. It may tell of packs by
// its errors only.
type packedDatabase struct {
	*database
	packed atomic.Pointer[pack] // a load that nobody waits for any more may still look
	mute   bool
}

// pack is what packs have left.
type pack struct {
	complete, newest zodb.Tid
	reached          map[zodb.Oid]bool // by the files as of complete
}

// pack packs up to tid. The file before stays until the next one, unless at once.
func (d *packedDatabase) pack(tid zodb.Tid, atOnce bool) {
	old := d.packed.Load()
	p := &pack{complete: old.newest, newest: max(old.newest, tid), reached: make(map[zodb.Oid]bool)}
	if atOnce {
		p.complete = p.newest
	}
	if p.complete == old.complete {
		p.reached = old.reached
		d.packed.Store(p)
		return
	}
	for _, file := range []zodb.Oid{file0, file1} {
		d.reach(p, file)
	}
	d.packed.Store(p)
}

// reach adds to p.reached an object and all that it links to.
func (d *packedDatabase) reach(p *pack, oid zodb.Oid) {
	s := d.at(oid, p.complete)
	if p.reached[oid] || s.kind == 0 {
		return
	}
	p.reached[oid] = true
	if s.kind == 'F' {
		d.reach(p, s.root)
	}
	for _, child := range s.children {
		d.reach(p, child)
	}
	for _, zblk := range s.kv {
		d.reach(p, zblk)
	}
}

// left returns the error of what the pack has removed, or nil.
func (d *packedDatabase) left(xid zodb.Xid) error {
	p := d.packed.Load()
	if xid.At >= p.complete {
		return nil
	}
	d.mu.Lock()
	revs := d.revs[xid.Oid]
	d.mu.Unlock()
	later := len(revs) > 0 && revs[len(revs)-1].tid > p.complete
	switch kept := d.at(xid.Oid, p.complete); {
	case p.reached[xid.Oid] && kept.tid <= xid.At:
		return nil
	case p.reached[xid.Oid] || later || d.mute:
		return &storage.PackedError{Xid: xid, PackTime: p.complete}
	}
	return &zodb.NoObjectError{Oid: xid.Oid}
}

func (d *packedDatabase) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	if err := d.left(xid); err != nil {
		return nil, 0, err
	}
	return d.database.Load(ctx, xid)
}

// Serial implements storage.Serialer.
func (d *packedDatabase) Serial(ctx context.Context, xid zodb.Xid) (zodb.Tid, error) {
	if err := d.left(xid); err != nil {
		return 0, err
	}
	return d.database.Serial(ctx, xid)
}

// Packs implements storage.Packed.
func (d *packedDatabase) Packs() (complete, newest zodb.Tid) {
	if d.mute {
		return 0, 0
	}
	p := d.packed.Load()
	return p.complete, p.newest
}

// Keep implements storage.Packed.
func (d *packedDatabase) Keep(zodb.Tid) {}

// TestHistoryAgreesWithBruteForceOverPacks runs random histories with packs at random
// moments, also in the middle of a commit. Of complete views all answers are right.
// Revisions can be opened, and show what the view they were asked for shows. Of views
// before that there are such answers too, or it is said that something is gone.
func TestHistoryAgreesWithBruteForceOverPacks(t *testing.T) {
	for seed := range uint64(*histories / 10) {
		seed += 2_000_000 + *firstSeed
		require.NoError(t, runPackedHistory(t.Context(), seed, 15), "seed %d", seed)
	}
}

func runPackedHistory(ctx context.Context, seed uint64, steps int) error {
	w := newWorld(seed)
	for range w.rnd.IntN(6) {
		w.step()
	}
	db := &packedDatabase{database: w.db, mute: w.chance(0.3)}
	db.packed.Store(new(pack))
	budget := []int64{1 << 20, 3000, 0}[w.rnd.IntN(3)]
	r := &run{ctx: ctx, w: w, o: &oracle{w.db, make(map[fileAt]fullMap)}, files: make(map[zodb.Oid]*File), packs: db}
	r.objs = versions.NewObjects(ctx, db, w.db.head, budget)
	defer r.objs.Close()
	var stop func()
	r.h, stop = newHead(ctx, r.objs, db, w.db.head)
	defer stop()
	for step := range steps {
		if w.chance(0.3) {
			db.pack(r.anyTid(w.db.tids[0]), w.chance(0.3))
		}
		err := r.step()
		for _, f := range r.files {
			if err == nil {
				err = r.checkPacked(f)
			}
		}
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

// floor returns the newest tid that a revision as of view at may be, though the block
// did not change then.
func (r *run) floor() zodb.Tid {
	if r.packs == nil {
		return r.h.revs.Floor()
	}
	return max(r.h.revs.Floor(), r.packs.packed.Load().complete)
}

// incomplete reports whether view is incomplete.
func (r *run) incomplete(view zodb.Tid) bool {
	return r.packs != nil && view < r.packs.packed.Load().complete
}

// mayBeGone reports whether err may be what is said of a view.
func (r *run) mayBeGone(err error, view zodb.Tid) bool {
	var packed *storage.PackedError
	return r.incomplete(view) && (errors.As(err, &packed) || r.packs.mute && bigfile.IsDamage(err))
}

// packSome packs in the middle of something.
func (r *run) packSome() {
	if r.packs != nil && r.w.chance(0.1) {
		r.packs.pack(r.anyTid(r.w.db.tids[0]), r.w.chance(0.5))
	}
}

// checkPacked checks revisions at all views, and pins.
func (r *run) checkPacked(f *File) error {
	for range 6 {
		at, blk := r.anyTid(r.w.db.tids[0]), r.w.rnd.Int64N(keySpace+2)
		if !r.o.at(f.Oid, at).exists || at > f.blocks.View {
			continue
		}
		if err := r.checkRev(f, blk, at); err != nil {
			return err
		}
		pin, err := f.pinRev(r.ctx, blk, at)
		if r.mayBeGone(err, at) {
			continue
		}
		if err != nil {
			return err
		}
		newest := r.packs.packed.Load().newest
		if want := r.o.rev(f.Oid, blk, at); pin < want || pin > at || !r.packs.mute && pin < newest && at >= newest {
			return fmt.Errorf("file %d #%d @%d: pinned @%d; changed @%d, packed to @%d", f.Oid, blk, at, pin, want, newest)
		}
		if err := r.checkOpens(f.Oid, blk, pin, at); err != nil {
			return err
		}
	}
	return nil
}

// checkOpens requires that rev, a revision of the block as of view at, can be opened and
// read without any help of a cache. A client that is not told of packs cannot know which
// revisions do.
func (r *run) checkOpens(oid zodb.Oid, blk int64, rev, at zodb.Tid) error {
	if r.packs.mute {
		return nil
	}
	fail := func(err error) error {
		return fmt.Errorf("file %d #%d @%d: revision @%d cannot be read: complete from @%d: %s", oid, blk, at, rev, r.packs.packed.Load().complete, err)
	}
	src := bigfile.Direct{Direct: btree.Direct{Loader: r.packs}}
	obj, _, err := src.File(r.ctx, zodb.Xid{At: rev, Oid: oid})
	if err != nil {
		return fail(err)
	}
	_, path, err := bigfile.Size(r.ctx, src, obj, rev)
	if err == nil {
		err = r.missing(path, rev)
	}
	if err != nil {
		return fail(err)
	}
	found, err := btree.Lookup(r.ctx, src, obj.Table, rev, blk)
	if err == nil {
		err = r.missing(found.Path, rev)
	}
	if err != nil {
		return fail(err)
	}
	want, ok := r.o.at(oid, at).blks[blk]
	if found.OK != ok || found.Value != want {
		return fail(fmt.Errorf("it shows %v, not %d", found, want))
	}
	if !ok {
		return nil
	}
	if serial, err := r.packs.Serial(r.ctx, zodb.Xid{At: rev, Oid: want}); err != nil || serial != r.w.db.at(want, at).tid {
		return fail(fmt.Errorf("data @%d, %v", serial, err))
	}
	return nil
}

// missing is btree.MissingError for nodes that were there once.
func (r *run) missing(path []btree.Step, at zodb.Tid) error {
	for _, step := range path {
		if step.Missing && r.w.db.at(step.Oid, at).kind != 0 {
			return btree.MissingError(path, at)
		}
	}
	return nil
}
