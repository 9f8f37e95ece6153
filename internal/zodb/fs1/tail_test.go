package fs1

import (
	"bytes"
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
