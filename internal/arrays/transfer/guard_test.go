package transfer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// TestDatabasesAreNeverTargets: neither the one that is read nor another one, nor what
// belongs to them, by whatever name.
func TestDatabasesAreNeverTargets(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, data string) { require.NoError(t, os.WriteFile(path(name), []byte(data), 0o600)) }
	for _, name := range []string{"Data.fs", "other[1].fs"} {
		write(name, "FS30....")
		write(name+".index", "x")
		write(name+".lock", "1")
		write(name+".tr0", "x")
	}
	write("old.fs", "FS21")
	write("new.fs", "") // nothing was written yet
	write("new.fs.lock", "1")
	write("a.npy", "x")
	write("a.fs", "x")
	require.NoError(t, os.Mkdir(path("sub"), 0o700))
	require.NoError(t, os.Symlink(path("Data.fs"), path("link")))
	require.NoError(t, os.Symlink(path("Data.fs.lock"), path("locklink")))
	require.NoError(t, os.Link(path("Data.fs"), path("hard")))
	require.NoError(t, os.Link(path("Data.fs.index"), path("hardindex")))
	for _, read := range []string{path("Data.fs"), path("link"), path("other[1].fs"), ""} {
		for _, name := range []string{"Data.fs", "Data.fs.index", "Data.fs.lock", "Data.fs.tr0", "Data.fs.tr1", "Data.fs.old", "link", "link.lock", "locklink", "hard",
			"hard.index", "sub/../Data.fs", "other[1].fs", "other[1].fs.tr0", "old.fs", "old.fs.lock", "new.fs"} {
			err := CheckTarget(path(name), read)
			require.Equal(t, fault.Exists, fault.Of(err), "%s while %s is read", name, read)
			require.ErrorContains(t, err, "which is never replaced", "%s while %s is read", name, read)
		}
		for _, name := range []string{"a.npy", "a.fs", "none.npy", "none.fs", "none.fs.lock", "sub/Data.fs", "a.npy.lock"} {
			require.NoError(t, CheckTarget(path(name), read), "%s while %s is read", name, read)
		}
	}
	require.Error(t, CheckTarget(path("hardindex"), path("Data.fs")))
	require.ErrorContains(t, CheckTarget(path("hard"), path("link")), "hard is the database that is read, which is never replaced; choose another name")

	f, err := os.OpenFile(path("Data.fs"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	require.Error(t, CheckOutput(f, path("link")))
	require.NoError(t, CheckOutput(f, path("old.fs")))
}
