package live_test

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
)

// heldWorld is a file of two blocks, the second of which has changed for a client that
// does not answer. The client has pinned what was behind it.
func heldWorld(t *testing.T, blksize int64) (f *live.File, drop func()) {
	_, h, next := resizeWorld(t, blksize, []int64{0, 1, 2, 3}, []int64{0, 1})
	f = h.Known(1)
	c := &parkedClient{make(chan int64, 100)}
	var w *live.Watch
	require.NoError(t, f.Watch(t.Context(), c, 1, nil, func(x *live.Watch) { w = x }))
	next()
	for range 2 {
		blk := <-c.sent
		require.Equal(t, live.Taken, take(w, blk))
		w.Acked(blk)
	}
	return f, w.Drop
}

// TestReadAheadDoesNotWaitForClients: it is refused, so that the kernel asks for the
// page that is wanted. A READ that may be one page fault waits, and so does one that
// goes past the page cache.
func TestReadAheadDoesNotWaitForClients(t *testing.T) {
	page := int64(os.Getpagesize())
	for _, test := range []struct {
		name    string
		blksize int64
		req     live.Request
		waits   bool
	}{
		{"one page", page, live.Request{Off: page, N: int(page)}, true},
		{"block before it", page, live.Request{Off: 0, N: int(2 * page)}, false},
		{"directly", page, live.Request{Off: 0, N: int(2 * page), Direct: true}, true},
		{"page behind the end", page, live.Request{Off: page, N: int(2 * page)}, false},
		{"directly behind the end", page, live.Request{Off: page, N: int(2 * page), Direct: true}, true},
		{"page of several blocks", page / 4, live.Request{Off: 0, N: int(page)}, true},
		{"pages of one block", 2 * page, live.Request{Off: 2 * page, N: int(2 * page)}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, drop := heldWorld(t, test.blksize)
				done := make(chan error, 1)
				go func() {
					reply, err := f.Read(t.Context(), test.req)
					if err == nil {
						reply.Release()
					}
					done <- err
				}()
				time.Sleep(time.Minute)
				synctest.Wait()
				if !test.waits {
					require.Len(t, done, 1)
					require.ErrorIs(t, <-done, syscall.EAGAIN)
					drop()
					return
				}
				require.Empty(t, done)
				drop()
				require.NoError(t, <-done)
			})
		})
	}
}

// TestThreadThatIsKilledAfterASignalThatItHandles is not kept by its READ: the kernel
// tells of the first signal only.
func TestThreadThatIsKilledAfterASignalThatItHandles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dying := atomic.Bool{}
		f := newFixture(t, live.Config{Processes: outside{dying: func(id int) bool { return id == 7 && dying.Load() }}})
		c := &parkedClient{make(chan int64, 100)}
		var w *live.Watch
		require.NoError(t, f.file.Watch(t.Context(), c, f.head.At(), nil, func(x *live.Watch) { w = x }))
		var others sync.WaitGroup
		for len(c.sent) == 0 {
			_, err := f.commit()
			require.NoError(t, err)
			others.Go(func() { _, _ = f.kernel.ReadDirect(t.Context(), 0, 1) })
			synctest.Wait()
		}
		signal := make(chan struct{})
		done := make(chan error, 2)
		for _, thread := range []int{7, 8} {
			go func() {
				_, err := f.file.Read(t.Context(), live.Request{N: 1, Direct: true, Thread: thread, Interrupted: signal})
				done <- err
			}()
		}
		time.Sleep(time.Minute)
		close(signal)
		time.Sleep(time.Minute)
		require.Empty(t, done, "both go on")
		dying.Store(true)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.Len(t, done, 1)
		require.ErrorIs(t, <-done, syscall.EINTR)
		w.Drop()
		require.NoError(t, <-done)
		others.Wait()
	})
}

// TestREADThatComesWhileItsProcessIsCondemned is refused however they meet.
func TestREADThatComesWhileItsProcessIsCondemned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{})
		f.head.Condemn(func(int) bool { // another process; it is asked for the READ
			f.head.Condemn(func(id int) bool { return id == 7 })
			return false
		})
		_, err := f.file.Read(t.Context(), live.Request{N: 1, Thread: 7})
		require.ErrorIs(t, err, syscall.EIO)
	})
}

// TestREADsThatWaitForClientsKeepBoundedMemory: those for which there is no room load
// their blocks again.
func TestREADsThatWaitForClientsKeepBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blksize := livetest.NewWorld(1).BlkSize
		f := newFixture(t, live.Config{ParkedBytes: 2*blksize + 1})
		f.readAll()
		c := &parkedClient{make(chan int64, 100)}
		var w *live.Watch
		first := f.head.At()
		require.NoError(t, f.file.Watch(t.Context(), c, first, nil, func(x *live.Watch) { w = x }))
		var blks []int64
		for len(blks) < 4 {
			tid, err := f.commit()
			require.NoError(t, err)
			blks = nil
			for blk := range int64(f.EndAt(tid)) {
				if f.revOf(blk, tid) > first && !f.pinned(c, w, blk) {
					blks = append(blks, blk)
				}
			}
		}
		f.park(blks, w, 2)
		w.Drop()
	})
}

// pinned pins a block that a commit took off the end.
func (f *fixture) pinned(c *parkedClient, w *live.Watch, blk int64) bool {
	for len(c.sent) > 0 {
		lost := <-c.sent
		require.Equal(f.t, live.Taken, take(w, lost))
		w.Acked(lost)
		take(w, lost)
	}
	return w.MapsPast(blk)
}

// park has a READ of each block wait for the client of w, and be answered one after
// another. kept of them keep their blocks.
func (f *fixture) park(blks []int64, w *live.Watch, kept int) {
	answered := make(chan error, len(blks))
	pages := f.BlkSize / f.kernel.Page
	for _, blk := range blks {
		go func() {
			data, err := f.kernel.ReadDirect(f.t.Context(), blk*pages, (blk+1)*pages)
			require.Equal(f.t, f.Block(f.head.At(), blk), data)
			answered <- err
		}()
	}
	for i, blk := range blks {
		time.Sleep(time.Minute) // what was loaded ahead is let go
		synctest.Wait()
		require.Len(f.t, answered, i)
		_, _, loads := f.file.Busy()
		require.LessOrEqual(f.t, loads, kept)
		require.Equal(f.t, int64(loads)*f.BlkSize, f.head.Parked())
		if i == 0 {
			require.Equal(f.t, kept, loads)
		}
		require.Equal(f.t, live.Taken, take(w, blk))
		w.Acked(blk)
		take(w, blk)
	}
	synctest.Wait()
	require.Len(f.t, answered, len(blks))
	for range blks {
		require.NoError(f.t, <-answered)
	}
	require.Zero(f.t, f.head.Parked())
	time.Sleep(time.Minute)
	reads, stores, loads := f.file.Busy()
	require.Zero(f.t, reads+stores+loads)
}

// TestEndOfOneCondemnedProcessDoesNotHelpAnother.
func TestEndOfOneCondemnedProcessDoesNotHelpAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{})
		read := func(thread int) error { return f.kernel.ReadPages(t.Context(), nil, thread, 0, 1) }
		seven := f.head.Condemn(func(id int) bool { return id == 7 })
		eight := f.head.Condemn(func(id int) bool { return id == 8 })
		require.ErrorIs(t, read(7), syscall.EIO)
		seven.Absolve()
		require.ErrorIs(t, read(8), syscall.EIO)
		eight.Absolve()
		require.NoError(t, read(8))
	})
}
