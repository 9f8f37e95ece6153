package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/t/harness"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// imported is what import --json says.
type imported struct {
	File  string `json:"file"`
	Tid   string `json:"tid"`
	Bytes int    `json:"bytes"`
}

// importJSON runs import and returns what it says.
func importJSON(t testing.TB, args ...string) imported {
	t.Helper()
	code, stdout, stderr := harness.Run(t, append([]string{"import", "--json"}, args...)...)
	require.Zero(t, code, stderr)
	var done imported
	require.NoError(t, json.Unmarshal([]byte(stdout), &done))
	return done
}

// TestImportedArraysAreFiles imports arrays of several dtypes, reads each of them
// through the mount and exports it again. A server that runs follows imports and
// appends, and shows the past.
func TestImportedArraysAreFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	database := path("Data.fs")
	data := []byte(strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz", 1000))
	require.NoError(t, os.WriteFile(path("data.raw"), data, 0o644))
	importJSON(t, path("data.raw"), database, "bytes", "--raw")
	s := harness.Launch(t, harness.Config{ZURL: "file://" + database})

	for i, c := range []struct{ dtype, shape, order, format, blksize string }{
		{"<f8", "10,450", "C", "auto", "2M"},
		{">i2", "9000,2", "F", "ZBlk1", "8K"},
		{"<U3", "3,10,100", "C", "ZBlk0", "4096"},
		{"M8[ns]", "4500", "C", "auto", "64K"},
		{"[('t', '<f8'), ('n', '|S4')]", "3,1000", "F", "ZBlk0", "4096"},
	} {
		name := fmt.Sprint("a", i)
		done := importJSON(t, path("data.raw"), database, name, "--dtype", c.dtype, "--shape", c.shape, "--order", c.order,
			"--block-format", c.format, "--blksize", c.blksize)
		require.Equal(t, len(data), done.Bytes)
		id, ok := storage.ParseID(done.Tid)
		require.True(t, ok)
		s.WaitAt(zodb.Tid(id))
		require.Equal(t, data, harness.ReadAt(t, s.Path("head/bigfile", done.File), 0, len(data)), "%s at head", name)

		first := path(name + ".npy")
		code, _, stderr := harness.Run(t, "export", database, name, "-o", first)
		require.Zero(t, code, stderr)
		require.Contains(t, harness.Content(t, first), string(data))
		require.Contains(t, harness.Content(t, first), fmt.Sprintf("'fortran_order': %s", map[string]string{"C": "False", "F": "True"}[c.order]))

		more := importJSON(t, first, database, name, "--append")
		id, _ = storage.ParseID(more.Tid)
		s.WaitAt(zodb.Tid(id))
		twice := append(data[:len(data):len(data)], data...)
		require.Equal(t, twice, harness.ReadAt(t, s.Path("head/bigfile", done.File), 0, len(twice)), "%s after append", name)
		past := s.Path("@"+done.Tid, "bigfile", done.File)
		require.Equal(t, data, harness.ReadAt(t, past, 0, len(data)), "%s before append", name)
		code, _, stderr = harness.Run(t, "export", database, name, "--at", done.Tid, "-o", path("past.npy"), "--force")
		require.Zero(t, code, stderr)
		require.Equal(t, harness.Content(t, first), harness.Content(t, path("past.npy")))
	}
	s.Stop()
}
