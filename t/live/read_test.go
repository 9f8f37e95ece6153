package live

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"github.com/wcfs/wcfs/t/oracle"
	"golang.org/x/sys/unix"
)

// TestDatabaseFilesAreNotTouched: serving neither writes nor locks.
func TestDatabaseFilesAreNotTouched(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	path := harness.CopyDatabase(t, "basic")
	dir := filepath.Dir(path)
	before, names := sum(t, path), harness.List(t, dir)
	mtime := harness.Stat(t, path).Mtim
	s := harness.StartOn(t, path)
	checkView(t, s, db, "head", db.Txns[len(db.Txns)-1])
	lock, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	lock.Close()
	s.Stop()
	require.Equal(t, before, sum(t, path))
	require.Equal(t, mtime, harness.Stat(t, path).Mtim)
	require.Equal(t, names, harness.List(t, dir))
}

// TestEveryBlockAtEveryTransactionReadsRight reads all that the databases of
// testdata have, as of every transaction and as of head, through a mount.
func TestEveryBlockAtEveryTransactionReadsRight(t *testing.T) {
	for _, name := range oracle.All(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := oracle.Load(t, name)
			s := harness.Start(t, db.Path)
			head := harness.ReadAt(t, s.Path("head/at"), 0, 100)
			require.Equal(t, db.Head.String(), string(head))
			for _, txn := range db.Txns {
				checkView(t, s, db, "@"+txn.Tid.String(), txn)
			}
			checkView(t, s, db, "head", db.Txns[len(db.Txns)-1])
			s.Stop()
		})
	}
}

// checkView compares one view with what it must be.
func checkView(t *testing.T, s *harness.Server, db *oracle.DB, view string, txn oracle.Txn) {
	t.Helper()
	for name, file := range db.Files {
		path := s.Path(view, "bigfile", file.Oid.String())
		state, exists := txn.Files[name]
		if !exists {
			_, err := os.Stat(path)
			require.ErrorIs(t, err, unix.EINVAL, "%s %s does not exist yet", view, name)
			continue
		}
		checkFile(t, path, file, state)
	}
}

func checkFile(t *testing.T, path string, file oracle.File, state oracle.FileState) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(int(f.Fd()), &st))
	require.Equal(t, state.Size, st.Size, "size of %s", path)
	require.EqualValues(t, file.BlkSize, st.Blksize, "block size of %s", path)
	if state.Blk == nil {
		return
	}
	data := make([]byte, file.BlkSize)
	hole := oracle.SumBlock(nil, file.BlkSize)
	for blk := int64(0); blk < state.Size/file.BlkSize; blk++ {
		want, known := state.Blk[blk]
		if !known && blk >= 100 {
			continue // holes of a sparse file: a hundred are enough
		} else if !known {
			want = hole
		}
		n, err := f.ReadAt(data, blk*file.BlkSize)
		require.NoError(t, err, "%s #%d", path, blk)
		require.Equal(t, len(data), n)
		if oracle.SumBlock(data, file.BlkSize) != want {
			t.Fatalf("%s #%d reads wrong", path, blk)
		}
	}
}

// TestMappedFileReadsAsTheSameBytes maps a file in a process of its own.
func TestMappedFileReadsAsTheSameBytes(t *testing.T) {
	db := oracle.Load(t, "bigtree")
	s := harness.Start(t, "bigtree")
	path := s.Path("head/bigfile", db.Files["big"].Oid.String())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	sum := 0
	for _, b := range data {
		sum += int(b)
	}
	require.Equal(t, fmt.Sprint(sum), harness.RunHelper(t, "sum", path))
	other := s.Path("@"+db.Head.String(), "bigfile", filepath.Base(path))
	require.Equal(t, fmt.Sprint(sum), harness.RunHelper(t, "sum", other))
}
