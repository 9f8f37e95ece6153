package live_test

import (
	"context"
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
