package fs1

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// TestLiveWriterWithAbortsIsFollowedExactly lets a writer vote, abort and
// finish at full speed, in pieces of any size, while readers come and go and
// follow by notifications.
func TestLiveWriterWithAbortsIsFollowedExactly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t)
	r.commit(put(1, "first", 1))
	r.mustOpen()
	const n = 400
	// The text of a transaction follows from its tid.
	text := func(tid zodb.Tid) string {
		return strings.Repeat(fmt.Sprint(tid, " "), 1+int(tid*7919%5000))
	}
	var g sync.WaitGroup
	g.Go(func() {
		for tid := zodb.Tid(2); tid < n; tid++ {
			for range rnd.IntN(3) {
				voted := r.w.Encode(put(tid+zodb.Tid(rnd.IntN(9)), strings.Repeat("no", rnd.IntN(5000)+1), 1, 2, 3), 'c')
				r.w.Raw(voted[:rnd.IntN(len(voted)+1)])
				r.w.Cut()
			}
			r.w.Commit(put(tid, text(tid), 1, 2+zodb.Oid(tid%5)))
		}
	})
	for tid := zodb.Tid(2); tid < n; tid++ {
		ev, err := r.NextEvent(r.ctx)
		if err != nil || ev.Tid != tid || len(ev.Oids) != 2 {
			t.Fatalf("event %v, %v; want @%s", ev, err, tid)
		}
		for _, oid := range ev.Oids {
			buf, serial, err := r.Load(r.ctx, zodb.Xid{At: tid, Oid: oid})
			if err != nil || serial != tid || string(buf.Data) != text(tid) {
				t.Fatalf("load %s @%s: serial %s, %v", oid, tid, serial, err)
			}
			buf.Release()
		}
		if tid%20 == 0 {
			s, at0, err := open(r.ctx, fileURL(r.w.Path), storage.Options{}, r.cfg)
			if err != nil || at0 < tid {
				t.Fatalf("another open: at %s, %v; want at least %s", at0, err, tid)
			}
			s.Close()
		}
	}
	g.Wait()
	if n := len(r.warnings()); n != 0 {
		t.Errorf("%d warnings", n)
	}
}

// TestEventComesOnceTheIndexHasIt keeps the follower from changing the index, and waits
// until it wants to.
func TestEventComesOnceTheIndexHasIt(t *testing.T) {
	r := newRig(t)
	r.commit(put(10, "one", 1))
	r.mustOpen()
	r.sync(10)
	mu := &r.cur.mu
	mu.RLock()
	r.w.Commit(put(11, "two", 1))
	for mu.TryRLock() { // fails when somebody waits to change it
		mu.RUnlock()
		runtime.Gosched()
		if r.ctx.Err() != nil {
			t.Fatal(r.ctx.Err())
		}
	}
	if head, n := r.Head(), r.queue.Len(); head != 10 || n != 0 {
		t.Errorf("head @%s and %d events while loads do not find the transaction", head, n)
	}
	mu.RUnlock()
	r.sync(11)
	r.wantEvents(11)
}

func TestIterateTellsDamageAndClose(t *testing.T) {
	r := newRig(t)
	r.commit(put(10, "one", 1))
	pos := r.w.End()
	r.commit(put(11, "two", 1))
	r.w.Vote(put(12, "not finished", 1))
	r.mustOpen()
	count := 0
	iterate := func() error {
		count = 0
		return r.Iterate(r.ctx, 0, zodb.TidMax, func(*storage.Txn) error { count++; return nil })
	}
	if err := iterate(); err != nil || count != 2 {
		t.Fatalf("%d transactions, %v; want those that are finished", count, err)
	}
	r.w.Patch(pos+8, u64(1<<40))
	if err := iterate(); err != nil || count != 2 {
		t.Fatalf("%d transactions, %v; want both: the length is there twice", count, err)
	}
	r.w.Patch(pos, make([]byte, 60))
	r.cur.damage = damages{}
	var corrupt *storage.CorruptError
	if err := iterate(); !errors.As(err, &corrupt) || corrupt.Oid != zodb.InvalidOid || count != 1 {
		t.Fatalf("%d transactions, %v; want a CorruptError", count, err)
	}
	r.Close()
	if err := iterate(); !errors.Is(err, storage.ErrClosed) {
		t.Fatalf("after close: %v", err)
	}
}

func TestEventsNameObjectsOnceAndInOrder(t *testing.T) {
	r := newRig(t)
	r.commit(put(1, "there", 3))
	r.mustOpen()
	r.commit(storagetest.Txn{Tid: 2, Records: []storagetest.Record{
		{Oid: 1 << 63, Data: []byte("a")}, {Oid: 3, Data: []byte("b")}, {Oid: 3, Data: []byte("c")}, {Oid: 0},
	}})
	ev, err := r.NextEvent(r.ctx)
	if want := []zodb.Oid{0, 3, 1 << 63}; err != nil || fmt.Sprint(ev.Oids) != fmt.Sprint(want) {
		t.Fatalf("event %v, %v; want %v", ev, err, want)
	}
	r.checkLoads()
}
