package head_test

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/head"
	"github.com/wcfs/wcfs/internal/storage"
)

// A block that cannot be read any more costs nobody who watches a view at which it
// could be.
func TestClientOfAnOlderViewIsSparedADamagedBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, next := resizeWorld(t, int64(os.Getpagesize()), []int64{0, 1}, nil)
		c := &parkedClient{make(chan int64, 10)}
		var w *head.Watch
		require.NoError(t, h.Known(1).Watch(t.Context(), c, 1, nil, func(x *head.Watch) { w = x }))
		next()
		done := make(chan error, 1)
		go func() { done <- k.ReadPages(t.Context(), nil, 0, 0, 1) }()
		require.EqualValues(t, 0, <-c.sent)
		require.Equal(t, head.Taken, take(w, 0))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, done, "the client may be in a fault of that block")
		w.Acked(0)
		var damaged *storage.CorruptError
		require.ErrorAs(t, <-done, &damaged)
		require.Equal(t, 1, w.Pinned())
	})
}
