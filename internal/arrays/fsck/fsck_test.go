package fsck

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/t/oracle"
)

// checked is what a check has found.
type checked struct {
	*Summary
	found []Damage
}

func run(t testing.TB, path string, allViews bool) *checked {
	t.Helper()
	c := &checked{}
	u, err := storage.ParseURL("file://" + path)
	require.NoError(t, err)
	c.Summary, err = Check(context.Background(), path, Options{
		Open: func(ctx context.Context) (storage.Storage, error) {
			store, _, err := fs1.Open(ctx, u, storage.Options{})
			return store, err
		},
		AllViews: allViews,
		Progress: func(int64, int64) {},
		Loaded:   func(int64) {},
		Found:    func(d Damage) error { c.found = append(c.found, d); return nil },
	})
	require.NoError(t, err)
	return c
}

// copied copies a database of Python, which may be damaged then.
func copied(t testing.TB, name string) string {
	path := filepath.Join(t.TempDir(), "Data.fs")
	for _, ext := range []string{"", ".index"} {
		b, err := os.ReadFile("../../../t/testdata/" + name + ".fs" + ext)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path+ext, b, 0o666))
	}
	return path
}

func TestDatabasesOfPythonAreSound(t *testing.T) {
	for _, name := range oracle.All(t) {
		db := oracle.Load(t, name)
		for _, allViews := range []bool{false, true} {
			if name == "bigtree" && allViews && testing.Short() {
				continue
			}
			c := run(t, db.Path, allViews)
			require.Empty(t, c.found, "%s", db.Name)
			require.Equal(t, db.Head, c.Head)
			require.Empty(t, c.Tail)
			require.Positive(t, c.Blocks)
		}
	}
}

// TestWhatCannotBeReadIsNamed damages the record of a block, and of a node above some.
func TestWhatCannotBeReadIsNamed(t *testing.T) {
	path := copied(t, "basic")
	pos, zblk := blockRecord(t, "basic")
	patch(t, path, pos+42+2, []byte{0xff}) // no opcode
	c := run(t, path, false)
	require.False(t, c.Sound())
	first := c.found[0]
	require.Equal(t, pos, first.Pos)
	require.Equal(t, zblk, first.Oid)
	block := c.found[slices.IndexFunc(c.found, func(d Damage) bool { return d.View != 0 })]
	require.Equal(t, zblk, block.Oid)
	require.Contains(t, []string{"zblk0", "mixed", "auto"}, block.Name)
	require.GreaterOrEqual(t, block.Block, int64(0))
	require.EqualValues(t, 1, c.Unreadable)
	require.EqualValues(t, 51, c.Blocks, "all others were looked at")
}

// blockRecord returns the last record of a ZBlk0 in a database.
func blockRecord(t testing.TB, name string) (pos int64, oid zodb.Oid) {
	t.Helper()
	db := oracle.Load(t, name)
	data, err := os.ReadFile(db.Path)
	require.NoError(t, err)
	for _, r := range slices.Backward(db.Records(t)) {
		if class, err := record.ClassOf(r.Data); err == nil && class == record.ZBlk0 {
			return int64(strings.LastIndex(string(data), string(r.Data))) - 42, r.Oid
		}
	}
	t.Fatal("there is no ZBlk0")
	return 0, 0
}

func patch(t testing.TB, path string, pos int64, b []byte) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(b, pos)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// TestTailIsNoDamage: a commit that is under way, and what an interrupted one has left.
func TestTailIsNoDamage(t *testing.T) {
	path := copied(t, "topo")
	fi, err := os.Stat(path)
	require.NoError(t, err)
	patch(t, path, fi.Size(), []byte("\x04\x0d\x23\x2b\x77\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00c\x00\x00\x00"))
	c := run(t, path, true)
	require.Empty(t, c.found)
	require.Contains(t, c.Tail, fmt.Sprint(fi.Size()))
	require.NoError(t, os.Truncate(path, fi.Size()-10))
	require.NoError(t, os.Remove(path+".index")) // it covers what is gone
	c = run(t, path, false)
	require.Empty(t, c.found)
	require.NotEmpty(t, c.Tail)
}

// TestIndexIsCompared: a saved index of another file, and one that is none.
func TestIndexIsCompared(t *testing.T) {
	path := copied(t, "topo")
	other, err := os.ReadFile("../../../t/testdata/basic.fs.index")
	require.NoError(t, err)
	for _, b := range [][]byte{other, []byte("nothing"), {}} {
		require.NoError(t, os.WriteFile(path+".index", b, 0o666))
		c := run(t, path, false)
		require.Len(t, c.found, 1)
		require.True(t, c.found[0].Index)
	}
	good, err := os.ReadFile("../../../t/testdata/topo.fs.index")
	require.NoError(t, err)
	good[len(good)-10] ^= 1 // in a position
	require.NoError(t, os.WriteFile(path+".index", good, 0o666))
	require.Len(t, run(t, path, false).found, 1)
}

// TestACheckEndsWhenItIsTold: an error of who is told ends it.
func TestACheckEndsWhenItIsTold(t *testing.T) {
	path := copied(t, "topo")
	require.NoError(t, os.WriteFile(path+".index", nil, 0o666))
	full := errors.New("nobody reads")
	_, err := Check(context.Background(), path, Options{Found: func(Damage) error { return full }, Progress: func(int64, int64) {}})
	require.ErrorIs(t, err, full)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Check(ctx, path, Options{Found: func(Damage) error { return nil }, Progress: func(int64, int64) {}})
	require.ErrorIs(t, err, context.Canceled)
}

// fstest tells for each path what fstest of ZODB has found.
const fstest = `
import sys
from ZODB.scripts import fstest
for line in sys.stdin:
    try:
        fstest.check(line.strip())
        print('ok', flush=True)
    except Exception as e:
        print(type(e).__name__, str(e).replace('\n', ' '), flush=True)
`

// TestAllThatZODBFindsIsFound plants damage and compares with fstest, if there is a
// Python with ZODB (make bin/venv).
func TestAllThatZODBFindsIsFound(t *testing.T) {
	const python = "../../../bin/venv/bin/python"
	if _, err := exec.LookPath(python); err != nil {
		t.Skip("there is no Python with ZODB: make bin/venv")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var paths []string
	each := 80
	if testing.Short() {
		each = 25
	}
	for _, name := range []string{"topo", "packed", "basic"} {
		orig, err := os.ReadFile("../../../t/testdata/" + name + ".fs")
		require.NoError(t, err)
		dir := t.TempDir()
		for i := range each {
			path := filepath.Join(dir, fmt.Sprintf("%d.fs", i))
			require.NoError(t, os.WriteFile(path, damaged(rnd, orig), 0o666))
			paths = append(paths, path)
		}
	}
	cmd := exec.Command(python, "-c", fstest)
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\n"))
	out, err := cmd.Output()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, lines, len(paths))
	theirs, ours := 0, 0
	for i, path := range paths {
		c := run(t, path, false)
		if !c.Sound() {
			ours++
		}
		if lines[i] != "ok" {
			theirs++
			require.True(t, !c.Sound() || c.Tail != "", "%s: %s", path, lines[i])
		}
	}
	t.Logf("of %d fstest found %d, check %d", len(paths), theirs, ours)
	require.Greater(t, ours, theirs/2)
}

// damaged returns data with some damage: wrong bits, zeros, something doubled, or less.
func damaged(rnd *rand.Rand, data []byte) []byte {
	data = slices.Clone(data)
	at := 4 + rnd.IntN(len(data)-4)
	switch rnd.IntN(5) {
	case 0:
		data[at] ^= 1 << rnd.IntN(8)
	case 1: // a sector
		at &^= 511
		clear(data[max(at, 4):min(at+512, len(data))])
	case 2: // a tid or position, most likely
		tid := strings.Index(string(data[at:]), "\x04\x0d\x23\x2b")
		if tid >= 0 {
			data[at+tid-8+rnd.IntN(42)] ^= 1 << rnd.IntN(8)
		}
	case 3:
		return data[:at]
	case 4:
		n := min(1+rnd.IntN(4096), len(data)-at)
		copy(data[at:], data[4:4+n])
	}
	return data
}
