package live

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// arrayHeader is how many bytes stand before the items of the arrays here.
const arrayHeader = 4096

// wcfsJSON runs a command with --json, and decodes what it says.
func wcfsJSON(t testing.TB, into any, args ...string) {
	t.Helper()
	code, stdout, stderr := harness.Run(t, append([]string{args[0], "--json"}, args[1:]...)...)
	require.Zero(t, code, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), into))
}

// importRaw imports bytes as an array, or appends them to it, and returns the transaction.
func importRaw(t testing.TB, database, name string, data []byte, options ...string) zodb.Tid {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "data.raw")
	require.NoError(t, os.WriteFile(raw, data, 0o644))
	var done struct{ Tid string }
	wcfsJSON(t, &done, append([]string{"import", raw, database, name, "--raw"}, options...)...)
	tid, ok := storage.ParseID(done.Tid)
	require.True(t, ok, done.Tid)
	return zodb.Tid(tid)
}

// arrayFile is what a .npy file has: its header, and the bytes of the items.
func arrayFile(t testing.TB, path string) (h *ndarray.Header, items string) {
	t.Helper()
	content := harness.Content(t, path)
	require.GreaterOrEqual(t, len(content), arrayHeader)
	require.EqualValues(t, len(content), harness.Stat(t, path).Size)
	r := strings.NewReader(content)
	h, err := ndarray.ReadHeader(r)
	require.NoError(t, err)
	require.Equal(t, arrayHeader, len(content)-r.Len(), "where the items begin")
	return h, content[arrayHeader:]
}

// Everything that ls lists is below arrays/, with the bytes that export gives.
func TestArraysAreWhatLsFinds(t *testing.T) {
	database := harness.CopyDatabase(t, "basic")
	s := harness.StartOn(t, database)
	var list struct {
		Entries []struct {
			Name, Oid, File string
			Dtype           string
		}
	}
	wcfsJSON(t, &list, "ls", database)
	require.NotEmpty(t, list.Entries)
	for _, view := range []string{"head", "@" + harness.Content(t, s.Path("head", "at"))} {
		for _, e := range list.Entries {
			var facts struct {
				Oid, File, Path string
				NPY             bool
			}
			base := s.Path(view, "arrays", e.Name)
			require.NoError(t, json.Unmarshal([]byte(harness.Content(t, base+".json")), &facts))
			require.Equal(t, e.Oid, facts.Oid)
			require.Equal(t, e.File, facts.File)
			require.Equal(t, e.Dtype != "", facts.NPY, e.Name)
			harness.Stat(t, s.Path(view, facts.Path))
			if !facts.NPY {
				_, err := os.Stat(base + ".npy")
				require.ErrorIs(t, err, unix.ENOENT)
				continue
			}
			exported := filepath.Join(t.TempDir(), "x.npy")
			code, _, stderr := harness.Run(t, "export", database, e.Name, "-o", exported)
			require.Zero(t, code, stderr)
			r, err := os.ReadFile(exported)
			require.NoError(t, err)
			want := bytes.NewReader(r)
			wantHeader, err := ndarray.ReadHeader(want)
			require.NoError(t, err)
			header, items := arrayFile(t, base+".npy")
			require.Equal(t, wantHeader, header)
			require.True(t, string(r[len(r)-want.Len():]) == items, "items of %s in %s", e.Name, view)
		}
	}
}

// A commit that appends makes the file longer, with a header that says so, and drops
// nothing but what it changes; a past view stays what it is.
func TestArrayFollowsItsCommits(t *testing.T) {
	database := filepath.Join(t.TempDir(), "data.fs")
	block := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }
	first := importRaw(t, database, "a", block('a', 3*4096), "--create", "--blksize", "4096", "--dtype", "S1", "--shape", "12288")
	s := harness.StartOn(t, database)
	path := s.Path("head", "arrays", "a.npy")
	h, items := arrayFile(t, path)
	require.Equal(t, []int64{12288}, h.Shape)
	require.True(t, items == strings.Repeat("a", 3*4096))
	m := harness.Map(t, path, 4096, 6)
	for blk, want := range []string{"\x93NUMPY", "aaa", "aaa", "aaa"} {
		require.Equal(t, want, m.Block(int64(blk))[:len(want)])
	}
	require.Equal(t, "SIGBUS", m.Block(4))
	s.WaitAt(importRaw(t, database, "a", block('b', 4096+100), "--append", "--dtype", "S1", "--shape", "4196"))
	require.Equal(t, "011100", m.Cache()[:6], "the header and the new blocks are not cached")
	h, items = arrayFile(t, path)
	require.Equal(t, []int64{16484}, h.Shape)
	require.True(t, items == strings.Repeat("a", 3*4096)+strings.Repeat("b", 4096+100))
	require.Equal(t, strings.Repeat("b", 100), m.Block(5), "behind the end there are zeros")
	s.WaitAt(importRaw(t, database, "a", block('c', 50), "--append", "--dtype", "S1", "--shape", "50"))
	require.Equal(t, strings.Repeat("b", 100)+strings.Repeat("c", 50), m.Block(5))
	h, items = arrayFile(t, s.Path("@"+first.String(), "arrays", "a.npy"))
	require.Equal(t, []int64{12288}, h.Shape)
	require.True(t, items == strings.Repeat("a", 3*4096))
}

// An array of another name is the same array; one that takes its name is another file.
func TestArrayThatIsReplacedIsAnotherFile(t *testing.T) {
	database := filepath.Join(t.TempDir(), "data.fs")
	importRaw(t, database, "odd%name", []byte("old!"), "--create", "--dtype", "S1", "--shape", "4")
	s := harness.StartOn(t, database)
	path := s.Path("head", "arrays", "odd%25name.npy")
	fd, err := harness.OpenFile(path, unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.Contains(t, harness.List(t, s.Path("head", "arrays")), "odd%25name.npy")
	_, items := arrayFile(t, path)
	require.Equal(t, "old!", items)
	s.WaitAt(importRaw(t, database, "odd%name", []byte("new one!"), "--replace", "--dtype", "S1", "--shape", "8"))
	_, items = arrayFile(t, path)
	require.Equal(t, "new one!", items)
	_, err = os.Stat(s.Path("head", "arrays", "odd%name.npy"))
	require.ErrorIs(t, err, unix.ENOENT)
	_, err = os.OpenFile(path, os.O_RDWR, 0)
	require.ErrorIs(t, err, unix.EROFS)
	_, err = os.Create(s.Path("head", "arrays", "mine"))
	require.ErrorIs(t, err, unix.EROFS)
}

// A Go program has arrays by name, and each of its views has those of its own.
func TestGoClientOpensArraysByName(t *testing.T) {
	database := filepath.Join(t.TempDir(), "data.fs")
	first := importRaw(t, database, "a", bytes.Repeat([]byte("a"), 8192), "--create", "--blksize", "4096", "--dtype", "S2", "--shape", "2,2048")
	s := harness.StartOn(t, database)
	c := harness.StartGoClient(t, s)
	c.Do("connect old %s", first)
	s.WaitAt(importRaw(t, database, "a", bytes.Repeat([]byte("b"), 4096), "--append", "--dtype", "S2", "--shape", "1,2048"))
	c.Do("connect new head")
	require.Regexp(t, `^[0-9a-f]{16} "\|S2" \[2 2048\] 8192$`, c.Helper.Ask("openarray f old a"))
	require.Regexp(t, `^[0-9a-f]{16} "\|S2" \[3 2048\] 12288$`, c.Helper.Ask("openarray g new a"))
	c.Do("mmap m f 1 2")
	c.Do("mmap n g 1 2")
	c.Shows("show m", strings.Repeat("a", 4096), "")
	c.Shows("show n", strings.Repeat("a", 4096), strings.Repeat("b", 4096))
	c.Fails("no such array", "openarray f old b")
	c.End()
}
