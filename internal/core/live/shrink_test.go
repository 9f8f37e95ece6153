package live_test

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
)

// TestWhatNobodyHasReadOfALargePartIsNotPinned when a file loses it.
func TestWhatNobodyHasReadOfALargePartIsNotPinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, next := resizeWorld(t, int64(os.Getpagesize()), []int64{0, 5000}, []int64{0})
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 4500, 4501))
		client := &sends{}
		var w *live.Watch
		require.NoError(t, h.Known(1).Watch(t.Context(), client, 1, nil, func(x *live.Watch) { w = x }))
		next()
		require.Equal(t, []bool{false}, client.told())
		require.Equal(t, live.Taken, take(w, 4500))
		w.Acked(4500)
		w.Drop()
	})
}

// TestCommitThatMakesAFileShorterWaitsOnlyForWhoMapsIt: not for a watch that is being set
// up, nor for one that was dropped.
func TestCommitThatMakesAFileShorterWaitsOnlyForWhoMapsIt(t *testing.T) {
	for _, setUp := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			_, h, next := resizeWorld(t, int64(os.Getpagesize()), []int64{0, 1}, []int64{0})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var unsure []int64 // a setup waits for these
			if setUp {
				unsure = []int64{1}
			}
			var w *live.Watch
			watched := make(chan error, 1)
			go func() { watched <- h.Known(1).Watch(ctx, &sends{}, 1, unsure, func(x *live.Watch) { w = x }) }()
			synctest.Wait()
			require.Equal(t, setUp, len(watched) == 0)
			done, start := make(chan struct{}), time.Now()
			go func() { defer close(done); next() }()
			synctest.Wait()
			if !setUp {
				requireOpen(t, done, "the client maps what the file loses")
				w.Drop()
			}
			<-done
			require.Zero(t, time.Since(start))
			w.Drop()
			cancel()
			<-watched
		})
	}
}

// TestWatchSetUpWhileAFileBecomesShorter waits for that, and pins what the file loses,
// also what was a hole.
func TestWatchSetUpWhileAFileBecomesShorter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, next := resizeWorld(t, int64(os.Getpagesize()), []int64{0, 2}, []int64{0})
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 0, 3))
		slow, late := &sends{}, &parkedClient{make(chan int64, 10)}
		require.NoError(t, h.Known(1).Watch(t.Context(), slow, 1, nil, func(*live.Watch) {}))
		done, start := make(chan struct{}), time.Now()
		go func() { defer close(done); next() }()
		require.Equal(t, []bool{false, false}, slow.told(), "the commit waits for it")
		ctx, cancel := context.WithCancel(t.Context())
		setup := make(chan error, 1)
		go func() { setup <- h.Known(1).Watch(ctx, late, 1, nil, func(*live.Watch) {}) }()
		synctest.Wait()
		require.Empty(t, setup)
		<-done
		require.LessOrEqual(t, time.Since(start), 500*time.Millisecond)
		synctest.Wait()
		require.Empty(t, setup)
		lost := make(map[int64]bool)
		for len(late.sent) > 0 {
			lost[<-late.sent] = true
		}
		require.Equal(t, map[int64]bool{0: true, 1: true, 2: true}, lost)
		cancel()
		require.Error(t, <-setup)
	})
}

// TestBlockWithAnOpenAnswerThatTheFileLoses is pinned as the others are, although the
// client was to be told to map it from head.
func TestBlockWithAnOpenAnswerThatTheFileLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, next := resizeWorld(t, int64(os.Getpagesize()), []int64{0, 1}, []int64{0})
		c := &parkedClient{make(chan int64, 10)}
		var w *live.Watch
		done := make(chan error, 1)
		go func() { done <- h.Known(1).Watch(t.Context(), c, 1, []int64{1}, func(x *live.Watch) { w = x }) }()
		synctest.Wait()
		require.EqualValues(t, 1, <-c.sent)
		next()
		require.Equal(t, live.Taken, w.Take(1, func(rev zodb.Tid, _ time.Time) bool {
			require.EqualValues(t, 1, rev)
			return true
		}))
		w.Acked(1)
		require.NoError(t, <-done)
		w.Drop()
	})
}

// TestBlockThatAMoveSendsBackToHeadIsPinnedIfTheFileLosesIt although the client does not
// map it from head yet.
func TestBlockThatAMoveSendsBackToHeadIsPinnedIfTheFileLosesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, next := resizeWorld(t, int64(os.Getpagesize()), []int64{0, 1}, []int64{0, 1}, []int64{0})
		next()
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 1, 2))
		var w *live.Watch
		watched := make(chan error, 1)
		go func() { watched <- h.Known(1).Watch(t.Context(), &sends{}, 1, nil, func(x *live.Watch) { w = x }) }()
		synctest.Wait()
		require.Equal(t, live.Taken, take(w, 1))
		w.Acked(1)
		require.NoError(t, <-watched)
		go func() { watched <- w.Move(t.Context(), 2) }()
		synctest.Wait()
		next()
		require.Empty(t, watched, "the client has not answered")
		require.Equal(t, live.Taken, w.Take(1, func(rev zodb.Tid, _ time.Time) bool {
			require.EqualValues(t, 2, rev)
			return true
		}))
		w.Acked(1)
		require.NoError(t, <-watched)
		w.Drop()
	})
}

// TestWatchOfAViewWithMuchMoreIsRefused: all of that would have to be pinned.
func TestWatchOfAViewWithMuchMoreIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, next := resizeWorld(t, int64(os.Getpagesize()), []int64{0, 1<<16 + 1}, []int64{0})
		next()
		var long *live.TooLongError
		require.ErrorAs(t, h.Known(1).Watch(t.Context(), &sends{}, 1, nil, func(w *live.Watch) { w.Drop() }), &long)
		require.EqualValues(t, 1<<16+1, long.Lost)
	})
}

// TestFileOpenedDuringACommitThatMakesItShorter is watched before the commit gets to
// its switch: the client is told to pin what is lost.
func TestFileOpenedDuringACommitThatMakesItShorter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{})
		for f.EndAt(f.head.At()) < 3 {
			_, err := f.commit()
			require.NoError(t, err)
		}
		f.readAll()
		at, end := f.head.At(), int64(0)
		for end = int64(f.EndAt(at)); ; at, end = f.head.At(), int64(f.EndAt(f.head.At())) {
			f.readAll()
			f.Transact()
			event, err := f.DB.NextEvent(t.Context())
			require.NoError(t, err)
			if int64(f.EndAt(event.Tid)) < end {
				f.commitWith(event.Tid, func() { require.NoError(t, f.head.Commit(t.Context(), event)) }, at, end)
				return
			}
			require.NoError(t, f.head.Commit(t.Context(), event))
		}
	})
}

// commitWith opens and watches the twin in the middle of a commit that makes it shorter.
func (f *fixture) commitWith(tid zodb.Tid, commit func(), at zodb.Tid, end int64) {
	gate, begun := make(chan struct{}), false
	f.DB.OnLoad(func(_ context.Context, xid zodb.Xid) error {
		if xid.At >= tid {
			begun = true
			<-gate
		}
		return nil
	})
	done := make(chan struct{})
	go func() { defer close(done); commit() }()
	synctest.Wait()
	require.True(f.t, begun)
	twin, err := f.head.Open(f.t.Context(), livetest.Twin)
	require.NoError(f.t, err)
	livetest.NewKernel(twin, func() {})
	c := &parkedClient{make(chan int64, 100)}
	require.NoError(f.t, twin.Watch(f.t.Context(), c, at, nil, func(*live.Watch) {}))
	require.Empty(f.t, c.sent)
	close(gate)
	<-done
	lost := make(map[int64]bool)
	for len(c.sent) > 0 {
		lost[<-c.sent] = true
	}
	for blk := int64(f.EndAt(tid)); blk < end; blk++ {
		require.True(f.t, lost[blk], "block %d was lost, pins were sent of %v", blk, lost)
	}
}
