package zwrite

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// isLocked reports whether somebody has the lock file, as zc.lockfile would find it.
func isLocked(t testing.TB, file string) bool {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	require.True(t, err == nil || errors.Is(err, unix.EWOULDBLOCK), "%v", err)
	return err != nil
}

// linked makes a database, and symbolic links that lead to it: by way of each other,
// relative and absolute, through a link to a directory.
func linked(t testing.TB) (names []string) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "real/deep"), 0o777))
	require.NoError(t, os.Symlink("real/deep", filepath.Join(dir, "dir")))
	names = []string{filepath.Join(dir, "real/Data.fs"), filepath.Join(dir, "dir/first.fs"), filepath.Join(dir, "second.fs"), filepath.Join(dir, "third.fs")}
	closeDB(t, create(t, names[0], Options{}))
	require.NoError(t, os.Symlink("../Data.fs", names[1])) // relative to real/deep
	require.NoError(t, os.Symlink(names[1], names[2]))
	require.NoError(t, os.Symlink("second.fs", names[3]))
	return names
}

// TestEveryNameIsLocked on the way to the database, and it is refused if any is.
func TestEveryNameIsLocked(t *testing.T) {
	names := linked(t)
	for given, path := range names {
		db := reopen(t, path, Options{})
		for i, name := range names[:given+1] {
			require.True(t, isLocked(t, name+".lock"), "%s by %s", name, path)
			closeDB(t, db)
			f, err := os.OpenFile(name+".lock", os.O_RDWR, 0)
			require.NoError(t, err)
			require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
			_, err = Open(ctx, path, Options{})
			var locked *LockedError
			require.ErrorAs(t, err, &locked)
			require.Equal(t, path, locked.Path)
			if i != given {
				require.Contains(t, err.Error(), ", as "+names[0][:len(names[0])-len("real/Data.fs")], "by which name")
			}
			f.Close()
			db = reopen(t, path, Options{})
		}
		closeDB(t, db)
	}
}

// TestTwoNamesAreOneDatabase for two writers of this process.
func TestTwoNamesAreOneDatabase(t *testing.T) {
	names := linked(t)
	other := filepath.Join(t.TempDir(), "other.fs")
	require.NoError(t, os.Symlink(names[0], other))
	names = append(names, other)
	for _, a := range names {
		db := reopen(t, a, Options{})
		for _, b := range names {
			_, err := Open(ctx, b, Options{})
			var locked *LockedError
			require.ErrorAs(t, err, &locked, "%s and %s", a, b)
		}
		closeDB(t, db)
	}
}

// TestLocksThatAreLinkedAreOneLock: somebody has linked the lock files, too.
func TestLocksThatAreLinkedAreOneLock(t *testing.T) {
	names := linked(t)
	require.NoError(t, os.Symlink(names[0]+".lock", names[2]+".lock"))
	closeDB(t, reopen(t, names[3], Options{}))
}

// TestLinksThatLeadNowhere are told as what they are.
func TestLinksThatLeadNowhere(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	require.NoError(t, os.Symlink(a, b))
	require.NoError(t, os.Symlink(b, a))
	_, err := Open(ctx, a, Options{})
	require.ErrorIs(t, err, syscall.ELOOP)
	require.NoError(t, os.Remove(a))
	_, err = Create(ctx, b, Options{})
	require.ErrorIs(t, err, os.ErrExist)
	require.NoFileExists(t, b+".lock")
	_, err = namesOf(filepath.Join(dir, "no/file"))
	require.NoError(t, err)
}

// TestHardLinksAreRefused, and nothing is left beside them.
func TestHardLinksAreRefused(t *testing.T) {
	path := tempPath(t)
	closeDB(t, create(t, path, Options{}))
	require.NoError(t, os.Link(path, path+"2"))
	_, err := Open(ctx, path+"2", Options{})
	var unsafe *UnsafeError
	require.ErrorAs(t, err, &unsafe)
	require.NoFileExists(t, path+"2.lock")
	require.NoError(t, os.Remove(path))
	closeDB(t, reopen(t, path+"2", Options{}))
}

// TestAbandonTakesAwayWhatWasMade, and only that.
func TestAbandonTakesAwayWhatWasMade(t *testing.T) {
	path := tempPath(t)
	db := create(t, path, Options{})
	require.NoError(t, db.Abandon())
	require.NoError(t, db.Abandon())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, entries)

	db = create(t, path, Options{})
	commit(t, db, put(1, "x", 1))
	require.NoError(t, db.Abandon())
	require.FileExists(t, path, "it has a transaction")
	require.NoFileExists(t, path+".index")
	require.NoFileExists(t, path+".lock")

	closeDB(t, reopen(t, path, Options{}))
	require.FileExists(t, path+".lock")
	require.NoError(t, reopen(t, path, Options{}).Abandon())
	require.FileExists(t, path+".lock", "it was there")
	require.FileExists(t, path+".index", "it was there")
	require.False(t, isLocked(t, path+".lock"))
}

// TestLockIsOfOneWhileItsFileComesAndGoes: who has it takes the file away.
func TestLockIsOfOneWhileItsFileComesAndGoes(t *testing.T) {
	path := tempPath(t)
	var owners, taken atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3000 {
				l, err := lock(path, []string{path}, likeness{})
				var locked *LockedError
				if errors.As(err, &locked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if owners.Add(1) != 1 {
					t.Error("two have it")
				}
				taken.Add(1)
				runtime.Gosched()
				owners.Add(-1)
				l.undo()
			}
		})
	}
	all.Wait()
	require.NotZero(t, taken.Load())
}

// TestLockOfAFileThatIsGoneIsNone.
func TestLockOfAFileThatIsGoneIsNone(t *testing.T) {
	path := tempPath(t)
	first, err := lock(path, []string{path}, likeness{})
	require.NoError(t, err)
	for _, again := range []bool{false, true} {
		f, made, err := openLock(path+".lock", likeness{})
		require.NoError(t, err)
		require.False(t, made)
		first.undo()
		if again {
			closeDB(t, create(t, path, Options{}))
		}
		var second locks
		held, err := second.hold(f, path+".lock")
		require.NoError(t, err)
		require.False(t, held)
		f.Close()
		first, err = lock(path, []string{path}, likeness{})
		require.NoError(t, err)
	}
	first.undo()
}

// TestDataFileIsLockedItself, for imports that have it by other names and have not
// opened it for writing yet.
func TestDataFileIsLockedItself(t *testing.T) {
	path := tempPath(t)
	closeDB(t, create(t, path, Options{}))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	_, err = Open(ctx, path, Options{})
	var locked *LockedError
	require.ErrorAs(t, err, &locked)
}

// TestWhatIsNoLockFileIsNotOverwritten: in the directory of another user a name may
// lead to anything.
func TestWhatIsNoLockFileIsNotOverwritten(t *testing.T) {
	path := tempPath(t)
	closeDB(t, create(t, path, Options{}))
	victim := filepath.Join(t.TempDir(), "victim")
	text := []byte("something that is longer than any pid that there can be, by far, is it not?")
	require.NoError(t, os.WriteFile(victim, text, 0o666))
	require.NoError(t, os.Remove(path+".lock"))
	require.NoError(t, os.Symlink(victim, path+".lock"))
	require.NoError(t, os.Remove(path+".index"))
	require.NoError(t, os.Symlink(victim, path+".index.index_tmp"))
	db := reopen(t, path, Options{})
	commit(t, db, put(1, "x", 1))
	closeDB(t, db)
	require.FileExists(t, path+".index")
	got, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, string(text), string(got))
}

// TestFilesBesideAreLikeTheDataFile in what others may do with them.
func TestFilesBesideAreLikeTheDataFile(t *testing.T) {
	path := tempPath(t)
	closeDB(t, create(t, path, Options{}))
	for _, mode := range []os.FileMode{0o600, 0o640, 0o664, 0o666} {
		require.NoError(t, os.Chmod(path, mode))
		for _, suffix := range []string{".lock", ".index", ".tr0"} {
			os.Remove(path + suffix)
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		require.NoError(t, err)
		_, err = f.WriteString("tail")
		require.NoError(t, err)
		f.Close()
		closeDB(t, reopen(t, path, Options{}))
		for _, suffix := range []string{".lock", ".index", ".tr0"} {
			fi, err := os.Stat(path + suffix)
			require.NoError(t, err)
			require.Equal(t, mode, fi.Mode(), suffix)
		}
	}
}
