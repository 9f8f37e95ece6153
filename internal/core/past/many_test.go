package past_test

import (
	"bytes"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/core/live/livetest"
	"github.com/wcfs/wcfs/internal/core/past"
)

// TestREADOfManyBlocksIsOneQuestion to a database that can answer it, once the block table is
// known. Each READ brings what the blocks read as.
func TestREADOfManyBlocksIsOneQuestion(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			sys, err := livetest.NewSystem(t.Context(), seed, 0)
			require.NoError(t, err)
			defer sys.Close()
			at := sys.Head.At()
			view := past.NewView(at, sys.Objs, sys.DB, sys.Loader, sys.Head.Preserved())
			file, err := view.Open(t.Context(), livetest.File)
			require.NoError(t, err)
			want, data := sys.Content(at)
			require.EqualValues(t, len(want), file.Size())
			require.Greater(t, data, 1)
			read := func() (questions int64) {
				before := sys.DB.Questions()
				reply, err := file.Read(t.Context(), nil, 0, len(want))
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
