package live

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"github.com/wcfs/wcfs/t/oracle"
	"golang.org/x/sys/unix"
)

// statsKeys are the lines of .wcfs/stats, in order.
var statsKeys = []string{"BigFile", "RevHead", "ZHeadLink", "WatchLink", "Watch", "PinnedBlk", "pin", "pinkill"}

// statsText returns what .wcfs/stats must be when values are given in order and
// the rest is 0.
func statsText(values ...int) string {
	var text strings.Builder
	for i, key := range statsKeys {
		value := 0
		if i < len(values) {
			value = values[i]
		}
		fmt.Fprintf(&text, "%s\t: %d\n", key, value)
	}
	return text.String()
}

func TestSmallFilesHaveTheExactBytes(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	for options, pintimeout := range map[string]string{
		"":                      "30.0",
		"-pintimeout=3s":        "3.0",
		"-pintimeout=1m30s":     "90.0",
		"--pintimeout=250ms":    "0.2", // printf "%.1f" rounds half to even
		"-pintimeout=123456h7s": "444441607.0",
	} {
		s := harness.Start(t, "basic", strings.Fields(options)...)
		require.Equal(t, s.ZURL, harness.Content(t, s.Path(".wcfs/zurl")))
		require.Equal(t, pintimeout, harness.Content(t, s.Path(".wcfs/pintimeout")), options)
		require.Equal(t, db.Head.String(), harness.Content(t, s.Path("head/at")))
		s.Stop()
	}
}

func TestStatsCountViewsAndFiles(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic")
	path := s.Path(".wcfs/stats")
	require.Equal(t, statsText(), harness.Content(t, path), "at start")

	var open []*os.File // open files and directories are not forgotten by the kernel
	defer func() {
		for _, f := range open {
			f.Close()
		}
	}()
	hold := func(path string) {
		f, err := os.Open(path)
		require.NoError(t, err)
		open = append(open, f)
	}
	hold(s.Path("head/bigfile", db.Files["arr"].Oid.String()))
	require.Equal(t, statsText(1, 0), harness.Content(t, path))
	hold(s.Path("head/bigfile", db.Files["zblk0"].Oid.String()))
	hold(s.Path("head/bigfile", db.Files["zblk0"].Oid.String()))
	require.Equal(t, statsText(2, 0), harness.Content(t, path))
	for i, txn := range db.Txns[:3] {
		hold(s.Path("@" + txn.Tid.String()))
		require.Equal(t, statsText(2, i+1), harness.Content(t, path))
	}
	// Files of views are not files under head/.
	hold(s.Path("@"+db.Head.String(), "bigfile", db.Files["arr"].Oid.String()))
	require.Equal(t, statsText(2, 4), harness.Content(t, path))
	_, err := os.Stat(s.Path("head/bigfile/0000000000000000"))
	require.Error(t, err)
	require.Equal(t, statsText(2, 4), harness.Content(t, path), "after a failed lookup")
}

// TestSmallFilesCanBeReadInAnyPieces reads any offset and length, also past the
// end. The kernel passes them on for files that it does not cache.
func TestSmallFilesCanBeReadInAnyPieces(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "basic")
	for _, name := range []string{"head/at", ".wcfs/stats", ".wcfs/zurl", ".wcfs/pintimeout"} {
		whole := harness.Content(t, s.Path(name))
		fd, err := harness.OpenFile(s.Path(name), unix.O_RDONLY)
		require.NoError(t, err)
		offsets := []int64{0, 1, 2, 3, 7, 15, 16, 17, 100, 4095, 4096, 1 << 20, 1 << 40, 1<<63 - 2}
		for at := range int64(len(whole) + 3) {
			offsets = append(offsets, at)
		}
		for _, off := range offsets {
			for _, n := range []int{0, 1, 2, 5, 15, 16, 17, 4096, 100000, 3 << 20} {
				if off > 1<<62 && n > 1 {
					continue // the kernel itself refuses what overflows
				}
				data := make([]byte, n)
				got, err := unix.Pread(fd, data, off)
				require.NoError(t, err, "%s: %d bytes at %d", name, n, off)
				want := ""
				if off < int64(len(whole)) {
					want = whole[off:min(int64(len(whole)), off+int64(n))]
				}
				require.Equal(t, want, string(data[:got]), "%s: %d bytes at %d", name, n, off)
			}
		}
		_, err = unix.Pread(fd, make([]byte, 1), -1)
		require.ErrorIs(t, err, unix.EINVAL)
		// As tail(1) and cat(1) do.
		end, err := unix.Seek(fd, 0, unix.SEEK_END)
		require.NoError(t, err)
		require.EqualValues(t, len(whole), end)
		unix.Close(fd)
	}
	require.True(t, s.Running())
}

// TestNothingCanBeWritten tries every way to change something. Each is refused
// with EROFS, and nothing has changed afterwards.
func TestNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic")
	view, arr := "@"+db.Head.String(), db.Files["arr"].Oid.String()
	before := sum(t, s.Path("head/bigfile", arr))
	try := func(err error, what ...any) { t.Helper(); requireROFS(t, err, what...) }
	regular := []string{"head/bigfile/" + arr, view + "/bigfile/" + arr, "head/at", ".wcfs/zurl", ".wcfs/pintimeout", ".wcfs/stats"}
	dirs := []string{".", ".wcfs", "head", "head/bigfile", view, view + "/bigfile"}
	for _, name := range regular {
		requireReadOnly(t, s, name)
	}
	for _, name := range append(regular, dirs...) {
		path := s.Path(name)
		try(unix.Chmod(path, 0o777), "chmod %s", name)
		try(unix.Lchown(path, 1, 1), "chown %s", name)
		try(unix.Utimes(path, make([]unix.Timeval, 2)), "utimes %s", name)
		now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
		try(unix.UtimesNanoAt(unix.AT_FDCWD, path, now, 0), "touch %s", name)
	}
	for _, dir := range dirs {
		fresh := "x"
		if dir == "." {
			fresh = "@7000000000000000" // as a view that is not there yet
		}
		path := s.Path(dir, fresh)
		fd, err := harness.OpenFile(path, unix.O_CREAT|unix.O_RDWR)
		if err == nil {
			unix.Close(fd)
		}
		try(err, "create %s", path)
		try(unix.Mkdir(path, 0o755), "mkdir %s", path)
		try(unix.Mknod(path, unix.S_IFREG|0o644, 0), "mknod %s", path)
		try(unix.Mknod(path, unix.S_IFIFO|0o644, 0), "mkfifo %s", path)
		try(unix.Symlink("x", path), "symlink %s", path)
	}
	for _, dir := range dirs[1:] {
		try(unix.Rmdir(s.Path(dir)), "rmdir %s", dir)
		try(unix.Rename(s.Path(dir), s.Path("@7000000000000000")), "rename %s", dir)
	}
	try(unix.Renameat2(unix.AT_FDCWD, s.Path("head/at"), unix.AT_FDCWD, s.Path(".wcfs/zurl"), unix.RENAME_EXCHANGE))

	for _, path := range []string{"x", ".x.swp", "@x"} {
		try(unix.Mkdir(s.Path(path), 0o755), path)
		_, err := os.Create(s.Path(path))
		try(err, path)
	}
	// Of an object that is no file the lookup says so first.
	require.ErrorIs(t, unix.Mkdir(s.Path("head/bigfile/0000000000099999"), 0o755), unix.EINVAL)

	require.Equal(t, before, sum(t, s.Path("head/bigfile", arr)))
	require.Equal(t, db.Head.String(), harness.Content(t, s.Path("head/at")))
	require.Equal(t, s.ZURL, harness.Content(t, s.Path(".wcfs/zurl")))
	require.True(t, s.Running())
}

func requireROFS(t *testing.T, err error, what ...any) {
	t.Helper()
	require.ErrorIs(t, err, unix.EROFS, what...)
}

// requireReadOnly tries to change a file in all ways.
func requireReadOnly(t *testing.T, s *harness.Server, name string) {
	path := s.Path(name)
	for _, flags := range []int{unix.O_RDWR, unix.O_WRONLY, unix.O_RDONLY | unix.O_TRUNC, unix.O_WRONLY | unix.O_TRUNC,
		unix.O_RDWR | unix.O_APPEND, unix.O_RDWR | unix.O_CREAT, unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC, unix.O_RDWR | unix.O_DIRECT} {
		fd, err := harness.OpenFile(path, flags)
		if err == nil {
			unix.Close(fd)
		}
		requireROFS(t, err, "open(%s, %#x)", name, flags)
	}
	fd, err := harness.OpenFile(path, unix.O_RDONLY)
	require.NoError(t, err)
	_, err = unix.Write(fd, []byte("x"))
	require.ErrorIs(t, err, unix.EBADF) // the kernel's own answer
	require.ErrorIs(t, unix.Ftruncate(fd, 0), unix.EINVAL)
	_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.ErrorIs(t, err, unix.EACCES, "shared writable mapping of %s", name)
	requireROFS(t, unix.Fchmod(fd, 0o777), "fchmod %s", name)
	requireROFS(t, unix.Futimes(fd, make([]unix.Timeval, 2)), "futimes %s", name)
	unix.Close(fd)

	requireROFS(t, unix.Truncate(path, 0), "truncate %s", name)
	requireROFS(t, unix.Truncate(path, 1<<30), "truncate %s", name)
	requireROFS(t, unix.Unlink(path), "unlink %s", name)
	requireROFS(t, unix.Rename(path, s.Path("head/x")), "rename %s", name)
	requireROFS(t, unix.Link(path, s.Path("head/x")), "link %s", name)
}
