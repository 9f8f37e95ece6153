package harness

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// LetPass makes all directories on the way to paths passable for others.
func LetPass(t testing.TB, paths ...string) {
	t.Helper()
	for _, path := range paths {
		for p := filepath.Dir(path); strings.HasPrefix(p, os.TempDir()); p = filepath.Dir(p) {
			require.NoError(t, os.Chmod(p, 0o755))
		}
	}
}

// Content returns the bytes of a file.
func Content(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

// Stat returns the attributes of a file that is there.
func Stat(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, Uninterrupted(func() error { return unix.Lstat(path, &st) }), path)
	return st
}

// List returns the names in a directory.
func List(t *testing.T, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Repo returns a path in the repository, which may be that of nothing.
func Repo(elem ...string) string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(append([]string{dir}, elem...)...)
		}
		if dir == filepath.Dir(dir) {
			panic("the tests run outside of the repository")
		}
		dir = filepath.Dir(dir)
	}
}

// CopyDatabase copies t/testdata/<name>.fs, or the file that name is a path of,
// with its index, and returns the path of the copy.
func CopyDatabase(t testing.TB, name string) string {
	t.Helper()
	source := name
	if !strings.Contains(name, "/") {
		source = Repo("t/testdata", name+".fs")
	}
	target := filepath.Join(t.TempDir(), "data.fs")
	CopyFile(t, source, target)
	if _, err := os.Stat(source + ".index"); err == nil {
		CopyFile(t, source+".index", target+".index")
	}
	return target
}

// CopyFile copies the bytes of a file to a new one.
func CopyFile(t testing.TB, source, target string) {
	t.Helper()
	in, err := os.Open(source)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.Create(target)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, errors.Join(err, out.Close()))
}

// ReadAt returns n bytes from offset off of the file path.
func ReadAt(t testing.TB, path string, off int64, n int) []byte {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	data := make([]byte, n)
	got, err := f.ReadAt(data, off)
	if err != io.EOF {
		require.NoError(t, err)
	}
	return data[:got]
}

// OpenFile is open(2). A lookup that loads something may be interrupted by a
// signal, and the Go runtime sends signals to its own threads to preempt them.
func OpenFile(path string, flags int) (fd int, err error) {
	err = Uninterrupted(func() error {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
		return err
	})
	return fd, err
}

// Uninterrupted calls f until no signal has interrupted it.
func Uninterrupted(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
