package mount

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// TestPointIsWhereEveryClientLooks has paths computed by sha1sum(1).
func TestPointIsWhereEveryClientLooks(t *testing.T) {
	for zurl, want := range map[string]string{
		"file:///srv/data.fs":                   "99829ed67e14a9a7167ac85fb9d8249a49b977fa",
		"neo://cluster@xyz:1?cert=c":            "a5cfdd2a7ac6bab580d9b216ce0020114a8e6f70",
		"neos://cluster@xyz:1":                  "a5cfdd2a7ac6bab580d9b216ce0020114a8e6f70",
		"neo://c@def:2,abc:1?logfile=x&b=2&a=1": "67c5cdbf52859ca693422bf9bbdf2508b730ac5b",
	} {
		dir, err := Point(zurl)
		require.NoError(t, err)
		require.Equal(t, Root+"/"+want, dir, zurl)
	}
	_, err := Point("mysql://host/db")
	require.Error(t, err)
}

func TestPrepareLeavesNothingOfWhatItRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	for _, bad := range []string{dir, file, filepath.Join(file, "below"), filepath.Join(dir, "no", "parent")} {
		_, err := Prepare(t.Context(), bad, true)
		require.Equal(t, fault.BadMountpoint, fault.Of(err), bad)
	}
	_, err := Prepare(t.Context(), filepath.Join(dir, "missing"), false)
	require.ErrorContains(t, err, "does not exist; create it: mkdir")
	place, err := Prepare(t.Context(), filepath.Join(dir, "made"), true)
	require.NoError(t, err)
	require.DirExists(t, place.Dir)
	place.Remove()
	require.NoDirExists(t, place.Dir)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "the file")
}

// TestOneAtATimeHasAPlace: of many that prepare, use and remove the same directory,
// which is made and removed all the time. Nobody removes that of another one.
func TestOneAtATimeHasAPlace(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "place")
	var holders, had atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 200 {
				if d, err := openDirectory(dir, false); err == nil { // as RemovePoint does
					if d.lock(false) == nil && d.isNamed() {
						d.remove()
					}
					d.close()
				}
				place, err := Prepare(t.Context(), dir, true)
				if fault.Is(err, fault.Mounted) {
					continue
				}
				if !assert.NoError(t, err) {
					return
				}
				had.Add(1)
				assert.EqualValues(t, 1, holders.Add(1))
				assert.DirExists(t, dir)
				holders.Add(-1)
				place.Remove()
			}
		})
	}
	all.Wait()
	require.Positive(t, had.Load())
}
