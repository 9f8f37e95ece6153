package live_test

import (
	"bytes"
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// A block that cannot be read any more costs nobody who watches a view at which it
// could be.
func TestClientOfAnOlderViewIsSparedADamagedBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, next := resizeWorld(t, int64(os.Getpagesize()), []int64{0, 1}, nil)
		c := &parkedClient{make(chan int64, 10)}
		var w *live.Watch
		require.NoError(t, h.Known(1).Watch(t.Context(), c, 1, nil, func(x *live.Watch) { w = x }))
		next()
		done := make(chan error, 1)
		go func() { done <- k.ReadPages(t.Context(), nil, 0, 0, 1) }()
		require.EqualValues(t, 0, <-c.sent)
		require.Equal(t, live.Taken, take(w, 0))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, done, "the client may be in a fault of that block")
		w.Acked(0)
		var damaged *storage.CorruptError
		require.ErrorAs(t, <-done, &damaged)
		require.Equal(t, 1, w.Pinned())
	})
}

// TestWatchThatMovesToADamagedBlock keeps nobody waiting, nor is there anything to pin:
// at its new view the block is damaged, too, and not changed since.
func TestWatchThatMovesToADamagedBlock(t *testing.T) {
	for _, room := range []int64{0, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			k, h, _, next := resizeWorldOf(t, live.Config{ParkedBytes: room}, int64(os.Getpagesize()), []int64{0, 1}, nil, []int64{0, 1})
			c := &parkedClient{make(chan int64, 10)}
			var w *live.Watch
			require.NoError(t, h.Known(1).Watch(t.Context(), c, 1, nil, func(x *live.Watch) { w = x }))
			next()
			next() // block 1; block 0 stays what it is
			done, moved := make(chan error, 1), make(chan error, 1)
			go func() { done <- k.ReadPages(t.Context(), nil, 0, 0, 1) }()
			require.EqualValues(t, 0, <-c.sent)
			synctest.Wait()
			require.Empty(t, done)
			go func() { moved <- w.Move(t.Context(), 2) }()
			require.NoError(t, <-moved)
			var damaged *storage.CorruptError
			synctest.Wait()
			require.Len(t, done, 1, "the READ waits, and nothing is left to be acknowledged")
			require.ErrorAs(t, <-done, &damaged)
			require.ErrorAs(t, k.ReadPages(t.Context(), nil, 0, 0, 1), &damaged)
			require.Equal(t, live.Nothing, take(w, 0))
			require.Empty(t, c.sent)
			w.Drop()
		})
	}
}

// TestBlockThatIsMendedWhileAClientIsWaitedFor is read.
func TestBlockThatIsMendedWhileAClientIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, next := resizeWorld(t, int64(os.Getpagesize()), []int64{0}, nil, []int64{0})
		c := &parkedClient{make(chan int64, 10)}
		var w *live.Watch
		require.NoError(t, h.Known(1).Watch(t.Context(), c, 1, nil, func(x *live.Watch) { w = x }))
		next()
		done := make(chan error, 1)
		go func() { done <- k.ReadPages(t.Context(), nil, 0, 0, 1) }()
		require.EqualValues(t, 0, <-c.sent)
		next()
		require.Equal(t, live.Taken, take(w, 0))
		w.Acked(0)
		require.NoError(t, <-done)
		require.Equal(t, byte('a'), k.PageAt(0)[0])
		w.Drop()
	})
}

// TestREADOfADamagedBlockWaitsForWhoMayMapItOnly: neither for a client whose first setup
// is not done, nor for one that is gone.
func TestREADOfADamagedBlockWaitsForWhoMayMapItOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, next := resizeWorld(t, int64(os.Getpagesize()), []int64{0, 1}, nil)
		f, c := h.Known(1), &parkedClient{make(chan int64, 10)}
		var gone, early *live.Watch
		ctx, cancel := context.WithCancel(t.Context())
		setup := make(chan error, 1)
		go func() { setup <- f.Watch(ctx, c, 1, []int64{1}, func(x *live.Watch) { early = x }) }()
		synctest.Wait()
		require.Empty(t, setup)
		require.NoError(t, f.Watch(t.Context(), c, 1, nil, func(x *live.Watch) { gone = x }))
		next()
		done := make(chan error, 1)
		go func() { done <- k.ReadPages(t.Context(), nil, 0, 0, 1) }()
		synctest.Wait()
		require.Empty(t, done)
		gone.Drop()
		var damaged *storage.CorruptError
		synctest.Wait()
		require.Len(t, done, 1)
		require.ErrorAs(t, <-done, &damaged)
		cancel()
		require.Error(t, <-setup)
		early.Drop()
	})
}

// TestWatchThatMovesBeforeItIsPinned is pinned for its new view: the move does not know
// of a block that nobody could read.
func TestWatchThatMovesBeforeItIsPinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, db, next := resizeWorldOf(t, live.Config{}, int64(os.Getpagesize()), []int64{0}, []int64{0}, nil)
		c := &parkedClient{make(chan int64, 10)}
		var w *live.Watch
		require.NoError(t, h.Known(1).Watch(t.Context(), c, 1, nil, func(x *live.Watch) { w = x }))
		next()
		next()
		moved := false
		db.OnLoad(func(_ context.Context, xid zodb.Xid) error {
			if xid.At == 1 && !moved {
				moved = true
				require.NoError(t, w.Move(t.Context(), 2))
			}
			return nil
		})
		done := make(chan error, 1)
		go func() { done <- k.ReadPages(t.Context(), nil, 0, 0, 1) }()
		require.EqualValues(t, 0, <-c.sent)
		require.True(t, moved)
		require.Equal(t, live.Taken, w.Take(0, func(rev zodb.Tid, _ time.Time) bool {
			require.EqualValues(t, 2, rev)
			return true
		}))
		synctest.Wait()
		require.Empty(t, done)
		w.Acked(0)
		var damaged *storage.CorruptError
		require.ErrorAs(t, <-done, &damaged)
		w.Drop()
	})
}

// TestDamageInThePastCostsOnlyWhoLooksThere: a block that has been mended is read, and
// watches of a view at which it was damaged are set up. Their clients are sent there.
func TestDamageInThePastCostsOnlyWhoLooksThere(t *testing.T) {
	for _, watchFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			k, h, db, _ := resizeWorldOf(t, live.Config{}, int64(os.Getpagesize()), []int64{0})
			whole := bigfile.EncodeBlock(bytes.Repeat([]byte{'x'}, os.Getpagesize()))
			commit := func(tid zodb.Tid, record []byte) {
				db.Commit(tid, map[zodb.Oid][]byte{100: record})
				event, err := db.NextEvent(t.Context())
				require.NoError(t, err)
				require.NoError(t, h.Commit(t.Context(), event))
			}
			var w *live.Watch
			watched, read := make(chan error, 1), make(chan error, 1)
			watch := func() { watched <- h.Known(1).Watch(t.Context(), &sends{}, 2, nil, func(x *live.Watch) { w = x }) }
			commit(2, nil)
			if watchFirst {
				watch()
			}
			commit(3, whole)
			go func() { read <- k.ReadPages(t.Context(), nil, 0, 0, 1) }()
			synctest.Wait()
			if !watchFirst {
				go watch()
				synctest.Wait()
			}
			require.Equal(t, watchFirst, len(read) == 0, "the client may still map the block from head")
			require.NotNil(t, w)
			require.Equal(t, live.Taken, w.Take(0, func(rev zodb.Tid, _ time.Time) bool {
				require.EqualValues(t, 2, rev)
				return true
			}))
			w.Acked(0)
			require.NoError(t, <-read)
			require.NoError(t, <-watched)
			require.Equal(t, byte('x'), k.PageAt(0)[0])
			w.Drop()
		})
	}
}
