package live_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// fixture is a head with one file and its page cache.
type fixture struct {
	*livetest.World
	t      *testing.T
	head   *live.Head
	file   *live.File
	kernel *livetest.Kernel
	cancel context.CancelFunc
}

func newFixture(t *testing.T, cfg live.Config) *fixture {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fixture{World: livetest.NewWorld(1), t: t, cancel: cancel}
	first := f.Tids()[0]
	objs := versions.NewObjects(ctx, f.DB, first, 1<<20)
	loader := bigfile.NewLoader(ctx, 4)
	if cfg.MaxServed == 0 {
		cfg.MaxServed = 1000
	}
	cfg.Retry, cfg.StuckAfter, cfg.KeepHistory, cfg.KeepFloor = 5*time.Second, time.Hour, time.Minute, time.Hour
	complete(&cfg, outside{})
	f.head = live.New(ctx, first, objs, f.DB, loader, cfg)
	t.Cleanup(func() {
		cancel()
		f.head.Close()
		loader.Wait()
		objs.Close()
		f.DB.Close()
	})
	file, err := f.head.Open(ctx, livetest.File)
	require.NoError(t, err)
	f.file, f.kernel = file, livetest.NewKernel(file, func() {})
	_, err = f.DB.NextEvent(ctx) // that of the first transaction
	require.NoError(t, err)
	return f
}

// readAll makes all of the file cached.
func (f *fixture) readAll() {
	f.t.Helper()
	f.kernel.Stat()
	require.NoError(f.t, f.kernel.ReadPages(f.t.Context(), nil, 0, 0, livetest.Blks*f.BlkSize/f.kernel.Page))
}

// commit makes a transaction and takes it in.
func (f *fixture) commit() (zodb.Tid, error) {
	f.t.Helper()
	f.Transact()
	event, err := f.DB.NextEvent(f.t.Context())
	require.NoError(f.t, err)
	return event.Tid, f.head.Commit(f.t.Context(), event)
}

func TestCommitIsTriedAgainWhileTheStorageFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{})
		f.readAll()
		fails := 6
		f.DB.OnLoad(func(context.Context, zodb.Xid) error {
			if fails--; fails > 0 {
				return errors.New("not now")
			}
			return nil
		})
		for range 10 { // some of them need loads
			tid, err := f.commit()
			require.NoError(t, err)
			require.Equal(t, tid, f.head.At())
		}
		require.Less(t, fails, 0)
	})
}

func TestHeadStaysWhereItIsWhenACommitCannotBeUnderstood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{})
		f.readAll()
		gone := errors.New("storage is gone")
		f.DB.OnLoad(func(context.Context, zodb.Xid) error { return gone })
		for {
			before := f.head.At()
			_, err := f.commit()
			if err == nil {
				continue // it needed no loads
			}
			require.ErrorIs(t, err, gone)
			require.Equal(t, before, f.head.At())
			return
		}
	})
}

func TestWhoWaitsForAViewIsWokenOrGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{})
		woken, gaveUp := make(chan error), make(chan error)
		f.Transact()
		event, err := f.DB.NextEvent(t.Context())
		require.NoError(t, err)
		next := event.Tid
		go func() { woken <- f.head.WaitAt(t.Context(), next) }()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { gaveUp <- f.head.WaitAt(ctx, zodb.TidMax) }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-gaveUp, context.Canceled)
		require.Equal(t, 1, f.head.Waiters(), "who gave up is forgotten")
		require.NoError(t, f.head.Commit(t.Context(), event))
		synctest.Wait()
		require.Zero(t, f.head.Waiters())
		require.NoError(t, <-woken)
		require.NoError(t, f.head.WaitAt(t.Context(), next))
	})
}

// TestHeadDoesNotStopAtStatesThatPassed while nothing was heard of the database. Nobody
// who waits for one misses it, and the page cache has the newest one.
func TestHeadDoesNotStopAtStatesThatPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{})
		f.readAll()
		before := f.head.At()
		zhead := f.head.Subscribe()
		defer zhead.Cancel()
		var tids []zodb.Tid
		var waits []chan error
		for range 3 {
			f.Transact()
			event, err := f.DB.NextEvent(t.Context())
			require.NoError(t, err)
			wait := make(chan error, 1)
			go func() { wait <- f.head.WaitAt(t.Context(), event.Tid) }()
			synctest.Wait()
			tids, waits = append(tids, event.Tid), append(waits, wait)
			require.Equal(t, before, f.head.At())
			event.More = len(tids) < 3
			require.NoError(t, f.head.Commit(t.Context(), event))
		}
		require.Equal(t, tids[2], f.head.At())
		for i, wait := range waits {
			require.NoError(t, <-wait)
			tid, err := zhead.Next(t.Context())
			require.NoError(t, err)
			require.Equal(t, tids[i], tid)
		}
		f.readAll()
		for i, data := range f.kernel.Cached() {
			require.Equal(t, f.Page(tids[2], i), data)
		}
	})
}

func TestSubscriberIsToldEveryTransactionOrDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{})
		reads, sleeps := f.head.Subscribe(), f.head.Subscribe()
		for range 1100 {
			tid, err := f.commit()
			require.NoError(t, err)
			told, err := reads.Next(t.Context())
			require.NoError(t, err)
			require.Equal(t, tid, told)
		}
		require.Equal(t, 1, f.head.Subscriptions(), "who does not listen is dropped")
		reads.Cancel()
		reads.Cancel()
		_, err := reads.Next(t.Context())
		require.ErrorIs(t, err, io.EOF)
		for err = nil; err == nil; {
			_, err = sleeps.Next(t.Context()) // what it was told before is there
		}
		require.ErrorIs(t, err, io.EOF)
		sleeps.Cancel()
		require.Zero(t, f.head.Subscriptions())
	})
}

func TestServedBlocksStayWithinTheirBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{MaxServed: 2})
		f.readAll()
		require.Equal(t, livetest.Blks, f.head.Served())
		_, err := f.commit() // it looks whether there is too much
		require.NoError(t, err)
		synctest.Wait()
		require.LessOrEqual(t, f.head.Served(), 2)
		require.LessOrEqual(t, len(f.kernel.Cached()), 2*int(f.BlkSize/f.kernel.Page), "what is forgotten is not cached either")
	})
}

// TestFileThatManyOpenAtOnceIsOne: a second one would not be told of commits.
func TestFileThatManyOpenAtOnceIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{})
		gate := make(chan struct{})
		f.DB.OnLoad(func(context.Context, zodb.Xid) error { <-gate; return nil })
		opened := make(chan *live.File, 3)
		for range cap(opened) {
			go func() {
				twin, err := f.head.Open(f.t.Context(), livetest.Twin)
				if err != nil {
					t.Errorf("open: %s", err)
				}
				opened <- twin
			}()
		}
		synctest.Wait()
		if len(opened) > 0 {
			t.Error("it was opened without a look at it")
		}
		close(gate)
		known := <-opened
		for range cap(opened) - 1 {
			require.Same(t, known, <-opened)
		}
		require.Same(t, known, f.head.Known(livetest.Twin))
	})
}
