package transfer

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// TestWriteFileReplacesNothing: a file that is there already is noticed before the
// work, and one that comes into being meanwhile after it.
func TestWriteFileReplacesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	other := func(w io.Writer) error {
		require.NoError(t, os.WriteFile(path, []byte("other"), 0o600))
		_, err := io.WriteString(w, "mine")
		return err
	}
	require.True(t, fault.Is(writeFile(t, path, false, other), fault.Exists))
	require.True(t, fault.Is(writeFile(t, path, false, func(io.Writer) error {
		t.Error("written in vain")
		return nil
	}), fault.Exists))
	requireOnly(t, path, "other")
	require.NoError(t, writeFile(t, path, true, other))
	requireOnly(t, path, "mine")
}

func TestWriteFileThatFailsLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	broken := errors.New("broken")
	for _, force := range []bool{false, true} {
		require.ErrorIs(t, writeFile(t, path, force, func(w io.Writer) error {
			_, _ = w.Write(make([]byte, 1<<20))
			return broken
		}), broken)
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Empty(t, entries)
	}
}

// requireOnly requires that a file has that content and is alone in its directory.
func requireOnly(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func writeFile(t *testing.T, path string, force bool, write func(io.Writer) error) error {
	o := OutFile{path: path, force: force, names: newNamer()}
	return o.Write(t.Context(), write)
}

// TestFilesystemsWithoutLinks: where neither a rename that replaces nothing nor a link
// is there, a file is written all the same, and replaces nothing.
func TestFilesystemsWithoutLinks(t *testing.T) {
	mine := func(w io.Writer) error {
		_, err := io.WriteString(w, "mine")
		return err
	}
	for _, errno := range []unix.Errno{unix.EINVAL, unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS} {
		path := filepath.Join(t.TempDir(), "x")
		fails := func(string, string) error { return &os.LinkError{Op: "link", Err: errno} }
		o := OutFile{path: path, names: namer{noReplace: fails, link: fails, rename: os.Rename}}
		require.NoError(t, o.Write(t.Context(), mine))
		requireOnly(t, path, "mine")
		require.NoError(t, os.Remove(path))

		require.True(t, fault.Is(o.Write(t.Context(), func(w io.Writer) error {
			require.NoError(t, os.WriteFile(path, []byte("other"), 0o600))
			return mine(w)
		}), fault.Exists))
		requireOnly(t, path, "other")
		require.NoError(t, os.Remove(path))

		o.names.rename = func(from, to string) error {
			requireOnlyTwo(t, from, to)
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: unix.EIO}
		}
		err := o.Write(t.Context(), mine)
		require.EqualError(t, err, "write "+path+": input/output error")
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Empty(t, entries)
	}
}

// requireOnlyTwo requires that the name is taken while the file is not there yet.
func requireOnlyTwo(t *testing.T, from, to string) {
	t.Helper()
	for path, size := range map[string]int64{from: 4, to: 0} {
		fi, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, size, fi.Size())
	}
}

// TestProtectedFilesAreNotReplaced: also not if they come into being meanwhile.
func TestProtectedFilesAreNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	o := OutFile{path: path, force: true, names: newNamer(), check: func() error { return CheckTarget(path, "") }}
	const never = "which is never replaced"
	require.ErrorContains(t, o.Write(t.Context(), func(w io.Writer) error { return os.WriteFile(path, []byte("FS30"), 0o600) }), never)
	requireOnly(t, path, "FS30")
	err := o.Write(t.Context(), func(w io.Writer) error {
		t.Error("written in vain")
		return nil
	})
	require.ErrorContains(t, err, never)
	require.Equal(t, fault.Exists, fault.Of(err))
}
