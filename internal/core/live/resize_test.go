package live_test

import (
	"bytes"
	"context"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// resizeWorld serves a file whose table has the keys tables[0], and returns what
// commits the next table: its last block is new or changed. Without a table block 0
// is damaged.
func resizeWorld(t *testing.T, blksize int64, tables ...[]int64) (*livetest.Kernel, *live.Head, func()) {
	k, h, _, next := resizeWorldOf(t, live.Config{}, blksize, tables...)
	return k, h, next
}

// resizeWorldOf is resizeWorld with what is set of cfg. Block blk is object 100+blk, the
// table 3, a twin 4.
func resizeWorldOf(t *testing.T, cfg live.Config, blksize int64, tables ...[]int64) (*livetest.Kernel, *live.Head, *mem.Storage, func()) {
	ctx, cancel := context.WithCancel(t.Context())
	db := mem.New()
	commit := func(tid zodb.Tid, keys []int64) {
		if keys == nil {
			db.Commit(tid, map[zodb.Oid][]byte{100: []byte("junk")})
			return
		}
		var refs []btree.Ref
		rec := map[zodb.Oid][]byte{
			1: bigfile.EncodeFile(&bigfile.File{BlkSize: blksize, Table: 2}),
			2: btree.EncodeTree(btree.LO, false, []zodb.Oid{3}, nil, 3),
			4: bigfile.EncodeFile(&bigfile.File{BlkSize: blksize, Table: 2}),
		}
		if tid > 1 {
			rec = map[zodb.Oid][]byte{}
		}
		for _, k := range keys {
			z := zodb.Oid(100 + k)
			refs = append(refs, btree.Ref{Oid: z, Class: record.ZBlk0})
			if tid == 1 || k == keys[len(keys)-1] {
				rec[z] = bigfile.EncodeBlock(bytes.Repeat([]byte{byte('a' + k)}, int(blksize)))
			}
		}
		rec[3] = btree.EncodeBucket(btree.LO, keys, refs, 0)
		db.Commit(tid, rec)
	}
	commit(1, tables[0])
	objs := versions.NewObjects(ctx, db, 1, 1<<20)
	loader := bigfile.NewLoader(ctx, 4)
	cfg.MaxServed, cfg.Retry, cfg.StuckAfter, cfg.KeepHistory, cfg.KeepFloor = 1000, time.Second, time.Hour, time.Minute, time.Hour
	complete(&cfg, outside{t: t})
	h := live.New(ctx, 1, objs, db, loader, cfg)
	t.Cleanup(func() { cancel(); h.Close(); loader.Wait(); objs.Close(); db.Close() })
	f, err := h.Open(ctx, 1)
	require.NoError(t, err)
	k := livetest.NewKernel(f, func() {})
	_, err = db.NextEvent(ctx)
	require.NoError(t, err)
	i := 1
	return k, h, db, func() {
		commit(zodb.Tid(i+1), tables[i])
		i++
		ev, err := db.NextEvent(ctx)
		require.NoError(t, err)
		require.NoError(t, h.Commit(ctx, ev))
	}
}

// Blocks may be smaller than a page: the file grows within a cached one.
func TestGrowthWithinACachedPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _, next := resizeWorld(t, 1024, []int64{0}, []int64{0, 1})
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 0, 1))
		next()
		k.Stat()
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 0, 1))
		require.Equal(t, byte('b'), k.PageAt(0)[1024], "block 1 through head after the commit that added it")
	})
}

// Between the commits a fault comes with the old size that the kernel has.
func TestFaultBehindTheEndDoesNotOutliveGrowth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := int64(os.Getpagesize())
		k, _, next := resizeWorld(t, page, []int64{0, 1}, []int64{0}, []int64{0, 1})
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 0, 1))
		next()
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 1, 2))
		next()
		k.Stat()
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 1, 2))
		require.Equal(t, byte('b'), k.PageAt(1)[0])
	})
}

// A process that is to die does not wait for the storage.
func TestCondemnedProcessIsNotKeptByALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{})
		gate := make(chan struct{})
		f.DB.OnLoad(func(context.Context, zodb.Xid) error { <-gate; return nil })
		done := make(chan error, 1)
		go func() { done <- f.kernel.ReadPages(t.Context(), nil, 7, 0, 1) }()
		synctest.Wait()
		f.head.Condemn(func(id int) bool { return id == 7 })
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case err := <-done:
			require.ErrorIs(t, err, syscall.EIO)
		default:
			t.Error("READ of a condemned thread still waits after a minute")
		}
		close(gate)
		synctest.Wait()
	})
}

// parkedClient tells the test what it is sent and leaves the answer to it.
type parkedClient struct{ sent chan int64 }

func (c *parkedClient) Send(_ *live.Watch, blk int64, _ bool) { c.sent <- blk }

// take sends what there is to send.
func take(w *live.Watch, blk int64) live.Taking {
	return w.Take(blk, func(zodb.Tid, time.Time) bool { return true })
}

// A READ that was cut at the end waits for a client while the file grows, with its block
// in memory or without.
func TestGrowthWhileAReadIsParked(t *testing.T) {
	for _, room := range []int64{0, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			k, h, _, next := resizeWorldOf(t, live.Config{ParkedBytes: room}, 1024, []int64{0}, []int64{0}, []int64{0, 1})
			f := h.Known(1)
			c := &parkedClient{make(chan int64, 10)}
			var w *live.Watch
			require.NoError(t, f.Watch(t.Context(), c, 1, nil, func(x *live.Watch) { w = x }))
			next() // block 0 changes
			done := make(chan error, 1)
			go func() { done <- k.ReadPages(t.Context(), nil, 0, 0, 1) }()
			synctest.Wait()
			require.EqualValues(t, 0, <-c.sent) // parked
			require.Equal(t, room > 0, h.Parked() > 0)
			require.Equal(t, live.Taken, take(w, 0))
			next() // block 1 is added: published while the READ is parked
			require.EqualValues(t, 3, h.At())
			w.Acked(0)
			take(w, 0)
			synctest.Wait()
			select {
			case blk := <-c.sent:
				take(w, blk)
				w.Acked(blk)
				take(w, blk)
			default:
			}
			require.NoError(t, <-done)
			require.Equal(t, byte('b'), k.PageAt(0)[1024])
		})
	}
}

// TestGrowthDoesNotWaitForReadAhead that goes behind the end, and waits for the storage.
func TestGrowthDoesNotWaitForReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := int64(os.Getpagesize())
		k, h, db, next := resizeWorldOf(t, live.Config{}, page, []int64{0, 1}, []int64{0}, []int64{0, 1})
		next()
		stuck, done, again := make(chan struct{}), make(chan error, 1), make(chan error, 1)
		grown := make(chan struct{})
		db.OnLoad(func(_ context.Context, xid zodb.Xid) error {
			if xid.Oid == 100 {
				<-stuck
			}
			return nil
		})
		go func() {
			_, err := h.Known(1).Read(t.Context(), live.Request{N: 2 * int(page)})
			done <- err
			<-grown // before, the kernel asks for what it knows only
			again <- k.ReadPages(t.Context(), nil, 0, 0, 2)
		}()
		synctest.Wait()
		require.Empty(t, done)
		next()
		close(grown)
		require.ErrorIs(t, <-done, syscall.EAGAIN)
		synctest.Wait()
		require.Empty(t, again)
		close(stuck)
		require.NoError(t, <-again)
		require.Equal(t, bytes.Repeat([]byte{'b'}, int(page)), k.PageAt(1))
	})
}

// TestFaultBehindAnEndThatIsNotToldYet does not wait for the client because of which it
// is not.
func TestFaultBehindAnEndThatIsNotToldYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long, short := []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, []int64{0, 1, 2, 3, 4}
		k, h, next := resizeWorld(t, 1024, long, short, long, short)
		f := h.Known(1)
		var w *live.Watch
		require.NoError(t, f.Watch(t.Context(), &parkedClient{make(chan int64, 100)}, 1, nil, func(x *live.Watch) { w = x }))
		next()
		next()
		k.Stat()
		parked, fault := make(chan error, 1), make(chan error, 1)
		go func() { parked <- k.ReadPages(t.Context(), nil, 0, 1, 2) }()
		synctest.Wait()
		next()
		require.EqualValues(t, 12<<10, f.Attr(t.Context()).Size, "the page that the new end is in is being read")
		go func() { fault <- k.ReadPages(t.Context(), nil, 0, 2, 3) }()
		_, err := f.Read(t.Context(), live.Request{Off: 4096, N: 8192})
		require.ErrorIs(t, err, syscall.EAGAIN, "the page with the end is asked for again")
		synctest.Wait()
		require.Empty(t, parked)
		require.Len(t, fault, 1)
		require.ErrorIs(t, <-fault, live.ErrBehindEnd)
		w.Drop()
		require.NoError(t, <-parked)
		require.EqualValues(t, 5<<10, f.Attr(t.Context()).Size)
	})
}

// TestFaultBehindAnEndOfWhichNobodyHasAnOlderView reads nothing: there is nothing.
func TestFaultBehindAnEndOfWhichNobodyHasAnOlderView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := int64(os.Getpagesize())
		_, h, next := resizeWorld(t, page, []int64{0, 1}, []int64{0})
		f := h.Known(1)
		next()
		var now, setUp *live.Watch
		require.NoError(t, f.Watch(t.Context(), &sends{}, 2, nil, func(w *live.Watch) { now = w }))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Watch(ctx, &sends{}, 1, nil, func(w *live.Watch) { setUp = w }) }()
		synctest.Wait()
		require.Empty(t, done)
		reply, err := f.Read(t.Context(), live.Request{Off: page, N: int(page)})
		require.NoError(t, err)
		require.Empty(t, reply.Slices())
		reply.Release()
		cancel()
		require.Error(t, <-done)
		now.Drop()
		setUp.Drop()
	})
}

// TestSizeWithinAPageIsToldWhenNoREADOfItWaits: the kernel would keep whoever asks for
// it until then.
func TestSizeWithinAPageIsToldWhenNoREADOfItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, next := resizeWorld(t, 1024, []int64{0}, []int64{0}, []int64{0, 1})
		f := h.Known(1)
		noted := &attrKernel{Kernel: k, file: f}
		f.Attach(noted)
		c := &parkedClient{make(chan int64, 10)}
		var w *live.Watch
		require.NoError(t, f.Watch(t.Context(), c, 1, nil, func(x *live.Watch) { w = x }))
		next()
		done := make(chan error, 1)
		go func() { done <- k.ReadPages(t.Context(), nil, 0, 0, 1) }()
		synctest.Wait()
		require.Empty(t, done)
		next()
		stat := make(chan struct{})
		go func() { k.Stat(); close(stat) }()
		synctest.Wait()
		select {
		case <-stat:
		default:
			t.Error("who asks for the size waits for a client")
		}
		require.EqualValues(t, 1024, f.Attr(t.Context()).Size)
		noted.told = nil
		w.Drop()
		require.NoError(t, <-done)
		<-stat
		synctest.Wait()
		require.Equal(t, []attrTold{{2048, 3}}, noted.told)
		k.Stat()
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 0, 1))
		require.Equal(t, byte('b'), k.PageAt(0)[1024])
	})
}

// TestSizeIsToldWhileAREADIsBeingAnswered: that one waits for nobody any more.
func TestSizeIsToldWhileAREADIsBeingAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, next := resizeWorld(t, 1024, []int64{0}, []int64{0, 1})
		reply, err := h.Known(1).Read(t.Context(), live.Request{N: 1024})
		require.NoError(t, err)
		defer reply.Release()
		next()
		require.EqualValues(t, 2048, h.Known(1).Attr(t.Context()).Size)
	})
}

// TestREADBehindANewEndIsNotKeptByALoad: the kernel waits for it when it learns of the
// end. It begins anew, or is over if the file becomes as long as before.
func TestREADBehindANewEndIsNotKeptByALoad(t *testing.T) {
	for _, grows := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			page := int64(os.Getpagesize())
			looking, look := make(chan struct{}), make(chan struct{})
			k, _, db, next := resizeWorldOf(t, live.Config{Processes: outside{dying: func(int) bool { looking <- struct{}{}; <-look; return false }}},
				page, []int64{0, 1}, []int64{0}, []int64{0, 1})
			stuck := make(chan struct{})
			db.OnLoad(func(_ context.Context, xid zodb.Xid) error {
				if xid.Oid == 101 && xid.At < 3 {
					<-stuck
				}
				return nil
			})
			signal, done := make(chan struct{}), make(chan error, 1)
			go func() { done <- k.ReadPages(t.Context(), signal, 7, 1, 2) }()
			synctest.Wait()
			if grows {
				close(signal)
				<-looking // the READ gets on when both are over
				next()
				grown := make(chan struct{})
				go func() { next(); close(grown) }()
				synctest.Wait()
				require.False(t, closed(grown), "the kernel would wait for the page")
				go func() {
					for range looking {
					}
				}()
				close(look)
				<-grown
			} else {
				next()
			}
			synctest.Wait()
			require.Len(t, done, 1)
			err := <-done
			if grows {
				require.ErrorIs(t, err, live.ErrBehindEnd, "the kernel waits for the page, to learn of the new end")
				err = k.ReadPages(t.Context(), nil, 0, 1, 2)
			}
			require.NoError(t, err)
			if grows {
				require.Equal(t, byte('b'), k.PageAt(1)[0])
			}
			close(stuck)
			close(looking)
		})
	}
}
