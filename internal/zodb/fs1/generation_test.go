package fs1

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// wantPacks checks what is told of packs.
func (r *rig) wantPacks(complete, newest zodb.Tid) {
	r.Helper()
	if c, n := r.Packs(); c != complete || n != newest {
		r.Fatalf("packs: complete from @%s, newest @%s; want @%s, @%s", c, n, complete, newest)
	}
}

// packNow commits a transaction, packs up to it, and has the reader notice.
func (r *rig) packNow() zodb.Tid {
	r.Helper()
	at := r.model.Head() + 1
	r.commit(put(at, "packed to", 1, 2))
	r.w.Pack(at, keepAll)
	r.sync(at)
	return at
}

// generations counts the replaced files that are open.
func (r *rig) generations() int {
	r.Storage.mu.RLock()
	defer r.Storage.mu.RUnlock()
	n := len(r.past)
	if r.old != nil {
		n++
	}
	return n
}

// TestViewsInUseStayCompleteOverPacks packs again and again. Views in use stay what they
// are until that would take too many files; then, and once they are not in use, the
// oldest file goes.
func TestViewsInUseStayCompleteOverPacks(t *testing.T) {
	r := newPackRig(t)
	at := r.model.Head()
	r.wantPacks(0, 0)
	r.Keep(at)
	first := r.packNow()
	r.wantPacks(0, first)
	second := r.packNow()
	r.wantPacks(0, second)
	third := r.packNow()
	r.wantPacks(0, third)
	r.checkLoads()
	if n := r.generations(); n != 3 {
		t.Fatalf("%d files", n)
	}

	oldest := r.past[0].file
	fourth := r.packNow() // one too many
	if _, err := oldest.f.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a file that is not kept: %v; want that it is closed", err)
	}
	r.wantPacks(first, fourth)
	if n := r.generations(); n != 3 {
		t.Fatalf("%d files", n)
	}
	var packed *storage.PackedError
	if _, _, err := r.Load(r.ctx, zodb.Xid{At: at, Oid: 1}); !errors.As(err, &packed) || packed.PackTime != first {
		t.Fatalf("load: %v; want a PackedError @%s", err, first)
	}
	r.Keep(second - 1)
	r.wantPacks(first, fourth)
	r.Keep(second)
	r.wantPacks(second, fourth)
	r.Keep(fourth)
	r.wantPacks(third, fourth)
	if n := r.generations(); n != 1 {
		t.Fatalf("%d files", n)
	}
	for _, view := range []zodb.Tid{third, fourth} {
		for _, oid := range r.model.Oids() {
			if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: view, Oid: oid}); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestPackSaysExactlyWhichViewsAreIncomplete has objects that were made after the
// transaction up to which a pack went, and before it was noticed.
func TestPackSaysExactlyWhichViewsAreIncomplete(t *testing.T) {
	r := newPackRig(t)
	upto := r.model.Head()
	r.commit(put(upto+1, "young", 900))
	r.w.Pack(upto, keepAll)
	r.sync(upto + 1)
	r.wantPacks(0, upto)
	r.commit(put(upto+2, "more", 1))
	r.w.Pack(upto+1, keepAll)
	r.sync(upto + 2)
	r.wantPacks(upto, upto+1)
	var noData *zodb.NoDataError
	if _, _, err := r.Load(r.ctx, zodb.Xid{At: upto, Oid: 900}); !errors.As(err, &noData) {
		t.Errorf("load of what was not created yet: %v", err)
	}
	var packed *storage.PackedError
	if _, _, err := r.Load(r.ctx, zodb.Xid{At: upto - 1, Oid: 1}); !errors.As(err, &packed) || packed.PackTime != upto {
		t.Errorf("load of what was packed away: %v", err)
	}
}

// TestRealPackedDatabaseTellsUpToWhere opens one that ZODB has packed.
func TestRealPackedDatabaseTellsUpToWhere(t *testing.T) {
	content, err := os.ReadFile("../../../t/testdata/packed.fs")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	if err := os.WriteFile(r.w.Path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	r.mustOpen()
	complete, newest := r.Packs()
	if complete != newest || complete == 0 || complete >= r.Head() {
		t.Fatalf("packs: complete from @%s, newest @%s, head @%s", complete, newest, r.Head())
	}
	// All that is referred to is there from the pack on: see t.PackedDatabase.
	n := 0
	err = r.Iterate(r.ctx, 0, complete, func(txn *storage.Txn) error { n++; return nil })
	if err != nil || n == 0 {
		t.Fatalf("%d transactions up to the pack; %v", n, err)
	}
}

// TestIndexedDatabaseTellsOfNoViewBeforeItWasOpened has a database of which only the
// end was looked at.
func TestIndexedDatabaseTellsOfNoViewBeforeItWasOpened(t *testing.T) {
	r := newRig(t)
	r.commit(put(10, "one", 1))
	r.commit(put(11, "two", 1))
	r.w.SaveIndex(nil)
	r.cfg.scanLimit = 0
	r.mustOpen()
	r.wantPacks(11, 11)
	r.checkLoads()
	r.w.Pack(10, keepAll)
	r.sync(11)
	r.wantPacks(11, 11)
}

// TestRandomPacksNeverShowWrongData commits, packs to anywhere, collects garbage,
// replaces the file by copies and looks at random. Complete views are what they were;
// below, what is there is right, and what is not says so.
func TestRandomPacksNeverShowWrongData(t *testing.T) {
	for range 60 {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		r := newRig(t)
		r.commit(put(r.model.NextTid(rnd), "root", theRoot))
		r.mustOpen()
		p := &packRun{rig: r, rnd: rnd, dropped: make(map[zodb.Oid]bool)}
		for range 40 {
			p.step()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		r.Close()
	}
}

// theRoot is never collected.
const theRoot zodb.Oid = 99

// packRun is a random run with packs.
type packRun struct {
	*rig
	rnd     *rand.Rand
	dropped map[zodb.Oid]bool // objects that were collected
}

func (p *packRun) step() {
	switch n := p.rnd.IntN(8); {
	case n > 2:
		txn := p.model.RandomTxn(p.rnd, 10)
		// An object that is deleted was not reachable before, or else others changed.
		txn.Records = slices.DeleteFunc(txn.Records, func(rec storagetest.Record) bool {
			return rec.Data == nil || p.dropped[rec.Oid]
		})
		p.commit(txn)
	case n == 0:
		p.pack()
	case n == 1:
		p.Keep(p.anyView())
	default:
		p.sync(p.model.Head())
		p.check()
	}
}

func (p *packRun) anyView() zodb.Tid { return p.model.Txns[p.rnd.IntN(len(p.model.Txns))].Tid }

// pack packs up to some transaction, after the reader has noticed the pack before.
func (p *packRun) pack() {
	p.sync(p.model.Head())
	p.check()
	upto, garbage := p.anyView(), p.oneOf(p.model.Oids())
	if p.rnd.IntN(2) == 0 || garbage == theRoot {
		garbage = zodb.InvalidOid
	}
	for _, txn := range p.model.Txns {
		for _, rec := range txn.Records {
			if rec.Oid == garbage && txn.Tid > upto {
				garbage = zodb.InvalidOid // it is still in use
			}
		}
	}
	if garbage != zodb.InvalidOid {
		p.dropped[garbage] = true
	}
	p.w.Pack(upto, func(oid zodb.Oid) bool { return !p.dropped[oid] })
}

func (p *packRun) oneOf(oids []zodb.Oid) zodb.Oid { return oids[p.rnd.IntN(len(oids))] }

func (p *packRun) check() {
	complete, newest := p.Packs()
	if complete > newest || newest > p.Storage.Head() {
		p.Errorf("packs: complete from @%s, newest @%s, head @%s", complete, newest, p.Storage.Head())
	}
	for range 100 {
		xid := zodb.Xid{At: p.anyView(), Oid: p.oneOf(p.model.Oids())}
		err := storagetest.CheckLoad(p.ctx, p.Storage, p.model, xid)
		if err == nil {
			continue
		}
		buf, _, loaded := p.Load(p.ctx, xid)
		var packed *storage.PackedError
		var noObject *zodb.NoObjectError
		switch {
		case buf != nil:
			p.Error(err) // wrong data is never right
		case p.dropped[xid.Oid] && storage.IsNoData(loaded):
		case xid.At < complete && (errors.As(loaded, &packed) || errors.As(loaded, &noObject)):
		default:
			p.Errorf("complete from @%s: %s", complete, err)
		}
	}
}
