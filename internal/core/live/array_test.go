package live_test

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
)

// A READ of the header and of data that takes long to load keeps the page of the header
// locked: a commit that changes the header does not wait for it, and it brings the new one.
func TestCommitDoesNotWaitForAREADOfAHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, err := livetest.NewSystem(t.Context(), 1, 0)
		require.NoError(t, err)
		defer sys.Close()
		k, err := sys.OpenArray()
		require.NoError(t, err)
		for k.Beyond(0) { // an array without items has nothing to load
			sys.Reshape()
			commit(t, sys)
			k.Stat()
		}
		var slow atomic.Bool
		release := make(chan struct{})
		slow.Store(true)
		sys.DB.OnLoad(func(ctx context.Context, xid zodb.Xid) error {
			if xid.Oid != livetest.Array && slow.Load() {
				<-release
			}
			return nil
		})
		read := make(chan error, 1)
		go func() { read <- k.ReadPages(t.Context(), nil, 0, -1, 1) }()
		synctest.Wait()
		require.Empty(t, read, "the READ waits for its data")
		sys.Reshape()
		commit(t, sys)
		require.Empty(t, read, "the READ waits for its data")
		slow.Store(false)
		close(release)
		require.NoError(t, <-read)
		require.Equal(t, livetest.IDOf(sys.ArrayPage(sys.Head.At(), -1)), livetest.IDOf(k.PageAt(-1)))
	})
}

// A thread that was told an end within a page waits for a READ of that page, and clears the
// rest of it whenever that ends. Meanwhile the array becomes longer: nothing of what it has
// then may be cleared.
func TestEndThatWasToldLateClearsNothing(t *testing.T) {
	for _, size := range []int64{900, 5000} { // in the page of the old end, and in another one
		synctest.Test(t, func(t *testing.T) {
			sys, err := livetest.NewSystem(t.Context(), 1, 0)
			require.NoError(t, err)
			defer sys.Close()
			f, err := sys.Head.OpenArray(t.Context(), livetest.Array)
			require.NoError(t, err)
			var steps atomic.Pointer[chan struct{}]
			k := livetest.NewKernel(f, func() {
				if s := steps.Load(); s != nil {
					<-*s
				}
			})
			sys.ReshapeTo(9000)
			commit(t, sys)
			require.EqualValues(t, 9000, k.Stat())
			sys.ReshapeTo(100)
			commit(t, sys)

			step := make(chan struct{})
			steps.Store(&step)
			var all sync.WaitGroup
			all.Go(func() { k.Stat() })
			step <- struct{}{} // it has asked, and the answer is on its way
			synctest.Wait()
			steps.Store(nil)
			release := make(chan struct{})
			sys.DB.OnLoad(func(_ context.Context, xid zodb.Xid) error {
				if xid.Oid != livetest.Array {
					<-release
				}
				return nil
			})
			all.Go(func() { require.NoError(t, k.ReadPages(t.Context(), nil, 0, 0, 1)) })
			synctest.Wait()
			step <- struct{}{} // the answer is there, and the page is locked
			synctest.Wait()
			sys.ReshapeTo(size)
			all.Go(func() { commit(t, sys) })
			synctest.Wait()
			close(release)
			all.Wait()
			require.EqualValues(t, size, k.Stat())
			require.NoError(t, k.ReadPages(t.Context(), nil, 0, 0, 1))
			require.True(t, bytes.Equal(sys.ArrayPage(sys.Head.At(), 0), k.PageAt(0)), "what is behind the old end was cleared")
		})
	}
}

// commit takes in what was committed.
func commit(t *testing.T, sys *livetest.System) {
	event, err := sys.DB.NextEvent(t.Context())
	require.NoError(t, err)
	require.NoError(t, sys.Head.Commit(t.Context(), event))
}

// An array is no file, whatever a client asks for.
func TestArrayCannotBeWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, err := livetest.NewSystem(t.Context(), 1, 0)
		require.NoError(t, err)
		defer sys.Close()
		_, err = sys.OpenArray()
		require.NoError(t, err)
		require.Nil(t, sys.Head.Known(livetest.Array))
		_, err = sys.Head.Open(t.Context(), livetest.Array)
		require.Error(t, err)
		require.NotNil(t, sys.Head.Known(livetest.File))
		require.IsType(t, &live.File{}, sys.Head.Known(livetest.File))
	})
}
