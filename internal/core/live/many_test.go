package live_test

import (
	"bytes"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
)

// TestREADOfManyBlocksIsOneQuestion to a database that can answer it, once the block table is
// known. Each READ brings what the blocks read as.
func TestREADOfManyBlocksIsOneQuestion(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			sys, err := livetest.NewSystem(t.Context(), seed, 0)
			require.NoError(t, err)
			defer sys.Close()
			want, data := sys.Content(sys.Head.At())
			require.Greater(t, data, 1)
			read := func() (questions int64) {
				before := sys.DB.Questions()
				reply, err := sys.File.Read(t.Context(), live.Request{N: len(want)})
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, bytes.Join(reply.Slices(), nil)))
				reply.Release()
				sys.Loader.Wait()
				return sys.DB.Questions() - before
			}
			read()
			if sys.DB.LoadsMany() {
				require.EqualValues(t, 1, read())
			} else {
				require.EqualValues(t, data, read())
			}
		})
	}
}
