package fs1

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// prefixes are the lengths at which a record of n bytes is cut.
func prefixes(n int) []int {
	var cuts []int
	for i := 1; i < n; i++ {
		if i < 30 || i%5 == 0 || n-i < 12 {
			cuts = append(cuts, i)
		}
	}
	return cuts
}

func TestTransactionIsInvisibleUntilItsStatusIsSet(t *testing.T) {
	r := newRig(t)
	r.commit(put(10, "one", 1, 2))
	r.mustOpen()
	next := put(11, "two", 2, 3)
	record := r.w.Encode(next, 'c')
	for _, n := range prefixes(len(record)) {
		r.w.Cut()
		r.w.Raw(record[:n])
		r.sync(10)
	}
	r.w.Vote(next)
	r.sync(10)
	r.wantEvents()
	r.checkLoads()
	if err := r.wait(time.Hour); err != nil { // another participant may take long
		t.Fatal(err)
	}
	r.w.Finish()
	r.model.Commit(next)
	r.sync(11)
	r.wantEvents(11)
	r.checkLoads()
	for _, text := range r.warnings() {
		if strings.Contains(text, "not a transaction") {
			t.Errorf("a voted transaction was warned about: %s", text)
		}
	}
}

func TestOpenAtAnyByteOfATransactionServesWhatIsFinished(t *testing.T) {
	r := newRig(t)
	r.commit(put(10, "one", 1, 2))
	next := put(11, "two", 2, 3)
	record := r.w.Encode(next, 'c')
	for _, n := range append(prefixes(len(record)), len(record)) {
		r.w.Cut()
		r.w.Raw(record[:n])
		r.mustOpen()
		if r.at0 != 10 {
			t.Fatalf("cut to %d bytes: opened at %s", n, r.at0)
		}
		r.Close()
	}
	r.w.Cut()
	r.mustOpen()
	r.commit(next)
	r.sync(11)
	r.wantEvents(11)
}

func TestAbortedTransactionLeavesNoTrace(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t)
	r.commit(put(10, "one", 1))
	r.mustOpen()
	var want []zodb.Tid
	for tid := zodb.Tid(100); tid < 400; tid += 4 {
		size := 1 + rnd.IntN(200)
		aborted := put(tid+zodb.Tid(rnd.IntN(4)), strings.Repeat("a", size), 1, zodb.Oid(5000+tid))
		r.w.Vote(aborted)
		if rnd.IntN(2) == 0 {
			r.sync(r.model.Head())
		}
		r.w.Abort()
		if rnd.IntN(2) == 0 {
			r.sync(r.model.Head())
		}
		// Shorter, equal or longer, and a tid before or after.
		r.commit(put(tid+zodb.Tid(rnd.IntN(4)), strings.Repeat("b", max(1, size-1+rnd.IntN(3))), 1, zodb.Oid(tid)))
		want = append(want, r.model.Head())
		if rnd.IntN(2) == 0 {
			r.sync(r.model.Head())
		}
	}
	r.sync(r.model.Head())
	r.wantEvents(want...)
	for _, tid := range want {
		for _, oid := range []zodb.Oid{1, zodb.Oid(tid), zodb.Oid(5000 + tid)} {
			if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: tid, Oid: oid}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// strayTails are bytes at the end of a file that are no transaction.
func strayTails() map[string][]byte {
	tails := make(map[string][]byte)
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 7, 8, 16, 17, 22, 23, 24, 31, 50, 1000} {
		noise := make([]byte, n)
		for i := range noise {
			noise[i] = byte(rnd.Uint32())
		}
		if n > 16 {
			noise[16] = 'x' // not by accident voted
		}
		tails[fmt.Sprintf("%d of noise", n)] = noise
		tails[fmt.Sprintf("%d zeros", n)] = make([]byte, n)
	}
	return tails
}

func TestStrayTailIsWarnedAboutOnceAndServingGoesOn(t *testing.T) {
	for name, tail := range strayTails() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.commit(put(10, "one", 1))
			r.w.Raw(tail)
			r.mustOpen()
			if r.at0 != 10 {
				t.Fatalf("opened at %s", r.at0)
			}
			for range 3 {
				if n := len(r.warnings()); n != 0 {
					t.Fatalf("%d warnings too early", n)
				}
				if err := r.wait(time.Second); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				if err := r.wait(time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(r.warnings()); n != 1 {
				t.Fatalf("%d warnings; want 1", n)
			}
			// A writer opens the file, cuts the tail off and goes on.
			r.w.Cut()
			r.sync(10)
			r.commit(put(11, "two", 1))
			r.sync(11)
			r.wantEvents(11)
			r.checkLoads()
		})
	}
}

func TestStatusesOfPackAndUndoAreUnderstood(t *testing.T) {
	r := newRig(t)
	r.commit(put(10, "one", 1))
	packed := put(11, "two", 1, 2)
	r.w.Vote(packed)
	r.w.FinishAs('p')
	r.model.Commit(packed)
	undone := put(12, "undone", 1, 2)
	r.w.Vote(undone)
	r.w.FinishAs('u')
	r.model.Commit(storagetest.Txn{Tid: 12})
	r.mustOpen()
	if r.at0 != 12 {
		t.Fatalf("opened at %s", r.at0)
	}
	r.checkLoads()
	undone.Tid = 13
	r.w.Vote(undone)
	r.w.FinishAs('u')
	r.model.Commit(storagetest.Txn{Tid: 13})
	r.sync(13)
	if ev, err := r.NextEvent(r.ctx); err != nil || ev.Tid != 13 || len(ev.Oids) != 0 {
		t.Fatalf("event %v, %v", ev, err)
	}
	r.checkLoads()
}

func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// TestDamageInTheMiddleCostsItsObject: all else is served, as the object is in views that
// are not concerned.
func TestDamageInTheMiddleCostsItsObject(t *testing.T) {
	// Positions are relative to the second of three transactions, which has one
	// record at 23+1+2.
	const rec = 26
	for name, patch := range map[string]struct {
		off int64
		b   []byte
	}{
		"status":                {16, []byte("x")},
		"status 0":              {16, []byte{0}},
		"length short":          {8, u64(3)},
		"length beyond the end": {8, u64(1 << 40)},
		"length 2^63":           {8, u64(1 << 63)},
		"length max":            {8, u64(1<<64 - 1)},
		"length off by one":     {8, u64(rec + 42 + 3 + 1)},
		"tid 0":                 {0, u64(0)},
		"tid too high":          {0, u64(1 << 63)},
		"tid not ascending":     {0, u64(10)},
		"strings":               {17, []byte{0xff, 0xff}},
		"record tid":            {rec + 8, u64(5)},
		"record transaction":    {rec + 24, u64(4)},
		"record version":        {rec + 32, []byte{0, 1}},
		"data 2^62":             {rec + 34, u64(1 << 62)},
		"data 2^63-1":           {rec + 34, u64(1<<63 - 1)},
		"data max":              {rec + 34, u64(1<<64 - 1)},
		"data 100 GiB":          {rec + 34, u64(100 << 30)},
		"data longer":           {rec + 34, u64(4)},
		"data shorter":          {rec + 34, u64(2)},
		"data none":             {rec + 34, u64(0)},
		"trailing length":       {rec + 42 + 3, u64(7)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.commit(put(10, "one", 1, 2))
			pos := r.w.End()
			r.commit(put(11, "two", 1))
			r.commit(put(12, "three", 1, 3))
			r.w.Patch(pos+patch.off, patch.b)
			r.mustOpen()
			if r.at0 != 12 {
				t.Fatalf("opened at %s", r.at0)
			}
			for _, xid := range []zodb.Xid{{At: 12, Oid: 1}, {At: 12, Oid: 2}, {At: 12, Oid: 3}, {At: 10, Oid: 2}} {
				err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, xid)
				if name == "strings" && xid == (zodb.Xid{At: 12, Oid: 2}) {
					r.wantCorrupt(xid) // it may have been in front of what was found
				} else if err != nil {
					t.Error(err)
				}
			}
			var corrupt *storage.CorruptError
			if buf, serial, err := r.Load(r.ctx, zodb.Xid{At: 11, Oid: 1}); err != nil && !errors.As(err, &corrupt) {
				t.Error(err)
			} else if err == nil && (serial != 11 || string(buf.Data) != "two") {
				t.Errorf("the damaged record is served: %s, %q", serial, buf.Data)
			}
			warned := strings.Join(r.warnings(), "\n")
			if n, _ := fmt.Sscanf(warned[strings.Index(warned, "position "):], "position %d", new(int64)); n != 1 || !strings.Contains(warned, "wcfs check") {
				t.Errorf("told: %s", warned)
			}
		})
	}
}

// pickles returns a record as Python writes it, of about n bytes.
func pickles(n int) []byte {
	return append([]byte("\x80\x02cm\nc\nq\x01."), fmt.Sprintf("\x80\x02T%s%s.", binary.LittleEndian.AppendUint32(nil, uint32(n)), strings.Repeat("x", n))...)
}

// TestWhatNobodyCanTellIsNotServed destroys more than a bit: then a record may be lost
// of which nobody knows what object it was of. A saved index knows.
func TestWhatNobodyCanTellIsNotServed(t *testing.T) {
	for _, indexed := range []bool{false, true} {
		for name, spoil := range map[string]func(r *rig, txn int64){
			"a record and the length of the one in front": func(r *rig, _ int64) { r.w.Patch(r.w.RevPos(2, 11)+34, make([]byte, 600)) },
			"the transaction": func(r *rig, txn int64) { r.w.Patch(txn, make([]byte, 2200)) },
			"a record":        func(r *rig, _ int64) { r.w.Patch(r.w.RevPos(3, 11), make([]byte, 42)) },
		} {
			t.Run(fmt.Sprintf("%s, index %t", name, indexed), func(t *testing.T) {
				r := newRig(t)
				commit := func(tid zodb.Tid, oids ...zodb.Oid) int64 {
					at := r.w.End()
					txn := storagetest.Txn{Tid: tid}
					for _, oid := range oids {
						txn.Records = append(txn.Records, storagetest.Record{Oid: oid, Data: pickles(400 + 100*int(tid%2) + int(oid))})
					}
					r.commit(txn)
					return at
				}
				commit(10, 1, 2, 3, 4, 5)
				damaged := commit(11, 1, 2, 3, 5)
				commit(12, 5, 6)
				if indexed {
					r.w.SaveIndex(nil)
				}
				spoil(r, damaged)
				r.mustOpen()
				right := []zodb.Xid{{At: 10, Oid: 4}, {At: 12, Oid: 5}, {At: 12, Oid: 6}}
				wrong := []zodb.Xid{{At: 12, Oid: 3}}
				if indexed {
					right = append(right, zodb.Xid{At: 12, Oid: 4})
				} else {
					right = append(right, zodb.Xid{At: 10, Oid: 1}, zodb.Xid{At: 10, Oid: 3})
					wrong = append(wrong, zodb.Xid{At: 12, Oid: 4}, zodb.Xid{At: 11, Oid: 4}, zodb.Xid{At: 12, Oid: 7})
				}
				for _, xid := range right {
					if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, xid); err != nil {
						t.Errorf("%s: %v", xid, err)
					}
				}
				for _, xid := range wrong {
					r.wantCorrupt(xid)
				}
				var corrupt *storage.CorruptError
				if err := r.Iterate(r.ctx, 0, zodb.TidMax, func(*storage.Txn) error { return nil }); !indexed && !errors.As(err, &corrupt) {
					t.Errorf("iterate: %v", err)
				}
			})
		}
	}
}

func TestLastingDamageEndsTheStreamButNotTheLoads(t *testing.T) {
	bad := map[string]func(r *rig) []byte{
		"record": func(r *rig) []byte {
			b := r.w.Encode(put(11, "two", 1), ' ')
			return bytes.Replace(b, u64(3), u64(4), 1)
		},
		"tid": func(r *rig) []byte { return r.w.Encode(put(10, "two", 1), ' ') },
		"trailer": func(r *rig) []byte {
			b := r.w.Encode(put(11, "two", 1), ' ')
			b[len(b)-1]++
			return b
		},
	}
	for name, encode := range bad {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.commit(put(10, "one", 1))
			r.mustOpen()
			r.w.Raw(encode(r))
			r.sync(10) // it may be a matter of waiting
			r.wantDown(4 * time.Second)
		})
	}
}

// wantDown waits for d and expects the end of the stream, but not of loads.
func (r *rig) wantDown(d time.Duration) error {
	r.Helper()
	var down *storage.DownError
	err := r.wait(d)
	if !errors.As(err, &down) {
		r.Fatalf("sync: %v; want a DownError", err)
	}
	if _, err := r.NextEvent(r.ctx); !errors.As(err, &down) {
		r.Fatalf("next event: %v; want a DownError", err)
	}
	if _, err := r.Sync(r.ctx); !errors.As(err, &down) {
		r.Fatalf("sync, again: %v; want a DownError", err)
	}
	r.Log(err)
	return err
}

func TestDamageThatGoesAwayIsForgotten(t *testing.T) {
	r := newRig(t)
	r.commit(put(10, "one", 1))
	r.mustOpen()
	b := r.w.Encode(put(11, "two", 1), ' ')
	b[len(b)-1]++
	r.w.Raw(b)
	if err := r.wait(2 * time.Second); err != nil {
		t.Fatal(err)
	}
	r.commit(put(11, "two", 1))
	r.sync(11)
	r.checkLoads()
}

func TestTruncatedOrRewrittenFileEndsTheStream(t *testing.T) {
	open := func(t *testing.T) *rig {
		r := newRig(t)
		r.commit(put(10, "one", 1))
		r.commit(put(11, "two", 1))
		r.mustOpen()
		return r
	}
	t.Run("truncated", func(t *testing.T) {
		r := open(t)
		r.w.Truncate(r.w.End() - 1)
		r.wantDown(0)
	})
	t.Run("rewritten", func(t *testing.T) {
		r := open(t)
		size := r.w.End()
		r.w.Truncate(4)
		r.w.Patch(4, bytes.Repeat([]byte{1}, int(size)+100))
		r.wantDown(0)
		if _, _, err := r.Load(r.ctx, zodb.Xid{At: 11, Oid: 1}); err == nil {
			t.Error("a load of what is no longer there worked")
		}
	})
}
