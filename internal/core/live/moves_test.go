package live_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/core/live"
)

// TestNothingIsSentForAWatchThatWasDropped, nor for one that is to go back.
func TestNothingIsSentForAWatchThatWasDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waiting{packedWorld: newPackedWorld(t), client: &sends{}}
		first := w.tid
		second := w.next()
		require.NoError(t, w.read())
		<-w.setUp(second)
		var back *live.GoingBackError
		require.ErrorAs(t, w.watch.Move(t.Context(), first), &back)
		require.Empty(t, w.client.told())
		w.next()
		answered, _ := w.readDirect()
		require.Equal(t, []bool{true}, w.client.told())
		w.watch.Drop()
		w.idle()
		<-answered
	})
}
