package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func testLoadMatrix(t *testing.T, b *bench) {
	b.commitRandom(120)
	stor, at0 := b.open()
	if at0 != b.model.Head() || stor.Head() != at0 {
		t.Fatalf("opened at %s, head %s; want %s", at0, stor.Head(), b.model.Head())
	}
	b.checkSample(stor)

	b.commitRandom(80)
	if head, err := stor.Sync(b.ctx); err != nil || head != b.model.Head() {
		t.Fatalf("sync: %s, %v; want %s", head, err, b.model.Head())
	}
	b.checkMatrix(stor)

	again, _ := b.open()
	b.checkSample(again)
}

func testConcurrentLoads(t *testing.T, b *bench) {
	b.commitRandom(100)
	stor, _ := b.open()
	views, oids := b.model.views(), b.model.Oids()
	var g sync.WaitGroup
	for range 64 {
		rnd := rand.New(rand.NewPCG(b.rnd.Uint64(), 0))
		g.Go(func() {
			var kept []*storage.Buf
			var sums []uint32
			for i := range 100 {
				xid := zodb.Xid{At: views[rnd.IntN(len(views))], Oid: oids[rnd.IntN(len(oids))]}
				buf, err := LoadChecked(b.ctx, stor, b.model, xid)
				if err != nil {
					t.Error(err)
					return
				}
				switch {
				case buf == nil:
				case i%2 == 0:
					buf.Release()
				default:
					kept = append(kept, buf)
					sums = append(sums, crc32.ChecksumIEEE(buf.Data))
				}
			}
			for i, buf := range kept {
				if crc32.ChecksumIEEE(buf.Data) != sums[i] {
					t.Error("data that was loaded has changed")
				}
				buf.Release()
			}
		})
	}
	g.Wait()
}

func testBigRecords(t *testing.T, b *bench) {
	noise := randomBytes(b.rnd, 2<<20)
	zeros := make([]byte, 2<<20)
	b.commit(Txn{Tid: 10, Records: []Record{{Oid: 1, Data: noise}, {Oid: 2, Data: zeros}}})
	b.commit(Txn{Tid: 11, Records: []Record{{Oid: 1, Data: zeros}, {Oid: 2, Data: noise}}})
	stor, _ := b.open()
	b.checkMatrix(stor)
}

func testEmpty(t *testing.T, b *bench) {
	stor, at0 := b.open()
	if at0 != b.model.Head() || stor.Head() != at0 {
		t.Fatalf("opened at %s, head %s; want %s", at0, stor.Head(), b.model.Head())
	}
	if err := CheckLoad(b.ctx, stor, b.model, zodb.Xid{At: 0, Oid: 0}); err != nil {
		t.Fatal(err)
	}
	b.commitRandom(1)
	if err := checkEvent(b.event(stor), &b.model.Txns[len(b.Base)]); err != nil {
		t.Fatal(err)
	}
	b.checkMatrix(stor)
}

// testOpenWhileCommitting opens again and again while somebody commits: what
// was there at open and the events must together be the history.
func testOpenWhileCommitting(t *testing.T, b *bench) {
	const opens = 30
	b.commitRandom(5)
	type opened struct {
		stor storage.Storage
		at0  zodb.Tid
	}
	found := make(chan opened, opens)
	go func() {
		defer close(found)
		for range opens {
			stor, at0 := b.Open(t)
			found <- opened{stor, at0}
		}
	}()
	var all []opened
	for o := range committing(b, found) {
		all = append(all, o)
	}
	b.commitRandom(1)
	for _, o := range all {
		if err := b.checkStream(o.stor, o.at0); err != nil {
			t.Error(err)
		}
		if err := o.stor.Close(); err != nil {
			t.Errorf("close: %s", err)
		}
	}
}

// committing passes on what comes from in, and commits until it ends.
func committing[T any](b *bench, in <-chan T) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for {
			select {
			case v, ok := <-in:
				if !ok {
					return
				}
				if !yield(v) {
					return
				}
			default:
				b.commitRandom(1)
			}
		}
	}
}

// checkStream reads events up to the head of the model, and compares them with
// the transactions after at0.
func (b *bench) checkStream(stor storage.Storage, at0 zodb.Tid) error {
	for i := range b.model.Txns {
		want := &b.model.Txns[i]
		if want.Tid <= at0 {
			continue
		}
		ev, err := stor.NextEvent(b.ctx)
		if err != nil {
			return fmt.Errorf("opened at %s: next event: %w", at0, err)
		}
		if err := checkEvent(ev, want); err != nil {
			return fmt.Errorf("opened at %s: %w", at0, err)
		}
	}
	return nil
}

func testEventThenLoad(t *testing.T, b *bench) {
	stor, _ := b.open()
	const n = 300
	var writing sync.WaitGroup
	defer writing.Wait() // an event may come before the writer knows of its commit
	writing.Go(func() {
		for i := range n {
			b.Commit(Txn{Tid: zodb.Tid(100 + i), Records: []Record{{Oid: 7, Data: fmt.Append(nil, i)}, {Oid: zodb.Oid(1000 + i), Data: []byte("x")}}})
		}
	})
	for i := range n {
		ev := b.event(stor)
		if ev.Tid != zodb.Tid(100+i) {
			t.Fatalf("event @%s; want @%s", ev.Tid, zodb.Tid(100+i))
		}
		if stor.Head() < ev.Tid {
			t.Fatalf("event @%s, but the head is @%s", ev.Tid, stor.Head())
		}
		buf, serial, err := stor.Load(b.ctx, zodb.Xid{At: ev.Tid, Oid: 7})
		if err != nil || serial != ev.Tid || string(buf.Data) != fmt.Sprint(i) {
			t.Fatalf("load at an event @%s: serial %s, %v", ev.Tid, serial, err)
		}
		buf.Release()
	}
}

func testSlowConsumer(t *testing.T, b *bench) {
	stor, at0 := b.open()
	for range 10 {
		b.commitRandom(50)
		if head, err := stor.Sync(b.ctx); err != nil || head != b.model.Head() {
			t.Fatalf("sync: %s, %v; want %s", head, err, b.model.Head())
		}
		for _, oid := range b.model.Oids() {
			if err := CheckLoad(b.ctx, stor, b.model, zodb.Xid{At: b.model.Head(), Oid: oid}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.checkStream(stor, at0); err != nil {
		t.Fatal(err)
	}
}

// testSync also checks that the events are there when Sync returns, without
// waiting for them.
func testSync(t *testing.T, b *bench) {
	stor, _ := b.open()
	for i := range 100 {
		b.commitRandom(1)
		head, err := stor.Sync(b.ctx)
		if err != nil || head != b.model.Head() || stor.Head() < head {
			t.Fatalf("sync: %s, %v, then head %s; want %s", head, err, stor.Head(), b.model.Head())
		}
		// Next is asked with a context that ends at once if there is nothing.
		ctx, cancel := context.WithCancel(b.ctx)
		got := make(chan error, 1)
		go func() {
			ev, err := stor.NextEvent(ctx)
			if err == nil {
				err = checkEvent(ev, &b.model.Txns[len(b.Base)+i])
			}
			got <- err
		}()
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		cancel()
	}
}

func testIterate(t *testing.T, b *bench) {
	b.commitRandom(60)
	stor, _ := b.open()
	it, ok := stor.(storage.Iterator)
	if !ok {
		t.Skip("cannot iterate")
	}
	views := b.model.views()
	told := b.Extension
	if told == nil {
		told = func(ext []byte) []byte { return ext }
	}
	for range 200 {
		tidMin, tidMax := views[b.rnd.IntN(len(views))], views[b.rnd.IntN(len(views))]
		var want, got []string
		for _, t := range b.model.Txns {
			if tidMin <= t.Tid && t.Tid <= tidMax {
				want = append(want, fmt.Sprintf("%s %q %q %q %v", t.Tid, t.User, t.Description, told(t.Extension), t.Oids()))
			}
		}
		err := it.Iterate(b.ctx, tidMin, tidMax, func(t *storage.Txn) error {
			got = append(got, fmt.Sprintf("%s %q %q %q %v", t.Tid, t.User, t.Description, t.Extension, t.Oids))
			return nil
		})
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("iterate %s..%s: error %v\nhave %v\nwant %v", tidMin, tidMax, err, got, want)
		}
	}
	mine := errors.New("mine")
	if err := it.Iterate(b.ctx, 0, zodb.TidMax, func(*storage.Txn) error { return mine }); err != mine {
		t.Fatalf("iterate: %v; want the error of the function", err)
	}
}

func testCancel(t *testing.T, b *bench) {
	b.commitRandom(20)
	stor, _ := b.open()
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	xid := zodb.Xid{At: b.model.Head(), Oid: b.model.Oids()[0]}
	if _, _, err := stor.Load(ctx, xid); !errors.Is(err, context.Canceled) {
		t.Errorf("load: %v", err)
	}
	if _, err := stor.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("sync: %v", err)
	}
	if _, err := stor.NextEvent(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("next event: %v", err)
	}
	// Cancelled at any moment, calls end, and the next ones work.
	for range 200 {
		ctx, cancel := context.WithCancel(b.ctx)
		var g sync.WaitGroup
		g.Go(func() { cancel() })
		g.Go(func() { _, _, _ = stor.Load(ctx, xid) })
		g.Go(func() { _, _ = stor.Sync(ctx) })
		g.Go(func() { _, _ = stor.NextEvent(ctx) })
		g.Wait()
		if err := CheckLoad(b.ctx, stor, b.model, xid); err != nil {
			t.Fatal(err)
		}
	}
}

// testClose closes while everything goes on.
func testClose(t *testing.T, b *bench) {
	b.commitRandom(20)
	xid := zodb.Xid{At: b.model.Head(), Oid: b.model.Oids()[0]}
	for range 20 {
		stor, _ := b.Open(t)
		var g sync.WaitGroup
		for range 4 {
			g.Go(func() {
				for {
					buf, _, err := stor.Load(b.ctx, xid)
					switch {
					case err == nil:
						buf.Release()
					case storage.IsNoData(err):
					case errors.Is(err, storage.ErrClosed):
						return
					default:
						t.Errorf("load during close: %v", err)
						return
					}
				}
			})
			g.Go(func() {
				for {
					if _, err := stor.Sync(b.ctx); err != nil {
						if !errors.Is(err, storage.ErrClosed) {
							t.Errorf("sync during close: %v", err)
						}
						return
					}
				}
			})
		}
		g.Go(func() {
			if _, err := stor.NextEvent(b.ctx); err != io.EOF {
				t.Errorf("next event after close: %v", err)
			}
		})
		for range 3 {
			g.Go(func() {
				if err := stor.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
		}
		g.Wait()
		if _, _, err := stor.Load(b.ctx, xid); !errors.Is(err, storage.ErrClosed) {
			t.Fatalf("load after close: %v", err)
		}
		if _, err := stor.NextEvent(b.ctx); err != io.EOF {
			t.Fatalf("next event after close, again: %v", err)
		}
	}
}

func testOpenClose(t *testing.T, b *bench) {
	b.commitRandom(10)
	ignore := goleak.IgnoreCurrent()
	before := openFiles()
	const opened = 100
	for range opened {
		stor, _ := b.Open(t)
		if err := stor.Close(); err != nil {
			t.Fatal(err)
		}
	}
	goleak.VerifyNone(t, ignore)
	// Other tests run beside this one, but they open less than what would be left of so many.
	if after := openFiles(); after >= before+opened/2 {
		t.Errorf("%d descriptors were open, now %d", before, after)
	}
}

// openFiles counts the descriptors of the process.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	n := 0
	for _, e := range entries {
		// The runtime makes its own for polling, when it likes.
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); !bytes.HasPrefix([]byte(to), []byte("anon_inode:[event")) {
			n++
		}
	}
	return n
}
