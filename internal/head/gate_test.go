package head_test

import (
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/head"
)

// heldWorld is a file of two blocks, the second of which has changed for a client that
// does not answer.
func heldWorld(t *testing.T, blksize int64) (f *head.File, drop func()) {
	_, h, next := resizeWorld(t, blksize, []int64{0, 1}, []int64{0, 1}, []int64{0, 1})
	f = h.Known(1)
	c := &parkedClient{make(chan int64, 100)}
	var w *head.Watch
	require.NoError(t, f.Watch(t.Context(), c, 1, nil, func(x *head.Watch) { w = x }))
	next()
	return f, w.Drop
}

// TestReadAheadDoesNotWaitForClients: it is refused, so that the kernel asks for the
// page that is wanted. What may be one page fault waits, and so does who reads past the
// page cache.
func TestReadAheadDoesNotWaitForClients(t *testing.T) {
	page := int64(os.Getpagesize())
	for _, test := range []struct {
		name    string
		blksize int64
		req     head.Request
		waits   bool
	}{
		{"one page", page, head.Request{Off: page, N: int(page)}, true},
		{"block before it", page, head.Request{Off: 0, N: int(2 * page)}, false},
		{"directly", page, head.Request{Off: 0, N: int(2 * page), Direct: true}, true},
		{"page behind the end", page, head.Request{Off: page, N: int(2 * page)}, false},
		{"directly behind the end", page, head.Request{Off: page, N: int(2 * page), Direct: true}, true},
		{"page of several blocks", page / 4, head.Request{Off: 0, N: int(page)}, true},
		{"pages of one block", 2 * page, head.Request{Off: 2 * page, N: int(2 * page)}, true},
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
		f := newFixture(t, head.Config{IsDying: func(id int) bool { return id == 7 && dying.Load() }})
		c := &parkedClient{make(chan int64, 100)}
		var w *head.Watch
		require.NoError(t, f.file.Watch(t.Context(), c, f.head.At(), nil, func(x *head.Watch) { w = x }))
		for len(c.sent) == 0 {
			_, err := f.commit()
			require.NoError(t, err)
			go func() { _, _ = f.kernel.ReadDirect(t.Context(), 0, 1) }()
			synctest.Wait()
		}
		signal := make(chan struct{})
		done := make(chan error, 2)
		for _, thread := range []int{7, 8} {
			go func() {
				_, err := f.file.Read(t.Context(), head.Request{N: 1, Direct: true, Thread: thread, Interrupted: signal})
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
	})
}

// TestREADThatComesWhileItsProcessIsCondemned is refused however they meet.
func TestREADThatComesWhileItsProcessIsCondemned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, head.Config{})
		f.head.Condemn(func(int) bool { // another process; it is asked for the READ
			f.head.Condemn(func(id int) bool { return id == 7 })
			return false
		})
		_, err := f.file.Read(t.Context(), head.Request{N: 1, Thread: 7})
		require.ErrorIs(t, err, syscall.EIO)
	})
}
