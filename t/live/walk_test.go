package live

import (
	"context"
	endian "encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"github.com/wcfs/wcfs/t/oracle"
	"golang.org/x/sys/unix"
)

// walkLimit is how long a program that walks over a mount may take.
const walkLimit = 30 * time.Second

// runTool runs a program of the system in an empty directory, and requires that it
// ends with that exit code within walkLimit. It returns the directory.
func runTool(t *testing.T, want int, args ...string) (dir string) {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skipf("NOT TESTED: there is no %s", args[0])
	}
	ctx, cancel := context.WithTimeout(t.Context(), walkLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = t.TempDir()
	out, _ := cmd.CombinedOutput()
	require.NoError(t, ctx.Err(), "%v does not end", args)
	require.Equal(t, want, cmd.ProcessState.ExitCode(), "%v: %s", args, out)
	require.Empty(t, string(out), args)
	// The copy has the modes of the mount, and is to be removed.
	t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+w", cmd.Dir).Run() })
	return cmd.Dir
}

// TestWalksEnd whoever walks over the whole mount, with all that waits for something:
// zhead, the trace, and the link of a client.
func TestWalksEnd(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic", "-debug")
	for _, view := range []string{"head", "@" + db.Head.String()} {
		for _, path := range harness.Files(s, db, view) {
			harness.Stat(t, path)
		}
	}
	s.Watcher()
	s.OpenTrace()
	arr := filepath.Join("head/bigfile", db.Files["arr"].Oid.String())
	want := sum(t, s.Path(arr))
	for _, c := range []struct {
		code int
		args []string
		copy string // where the array is then
	}{
		{code: 1, args: []string{"grep", "-r", "no such text", s.Dir}},
		{code: 0, args: []string{"find", s.Dir, "-size", "+1000000"}},
		{args: []string{"cp", "-r", s.Dir, "copy"}, copy: "copy"},
		{args: []string{"cp", "-a", s.Dir, "copy"}, copy: "copy"},
		{args: []string{"rsync", "-a", s.Dir + "/", "copy"}, copy: "copy"},
		{args: []string{"rsync", "-aS", s.Dir + "/", "copy"}, copy: "copy"},
		{args: []string{"sh", "-c", `tar -cf copy.tar -C "$0" . && mkdir copy && tar -xf copy.tar -C copy`, s.Dir}, copy: "copy"},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			dir := runTool(t, c.code, c.args...)
			if c.copy != "" {
				require.Equal(t, want, sum(t, filepath.Join(dir, c.copy, arr)), c.args)
				require.Equal(t, db.Head.String(), harness.Content(t, filepath.Join(dir, c.copy, "head/at")))
			}
		})
	}
	require.Empty(t, harness.List(t, s.Path(".wcfs/debug")), "what waits for a reader is not listed")
	harness.OpenZHead(s).Close()
}

// TestToolsForSparseFilesSkipNothing: there are no holes, whatever the block size of an
// array is, and stat tells so.
func TestToolsForSparseFilesSkipNothing(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic")
	for _, view := range []string{"head", "@" + db.Head.String()} {
		for name, path := range harness.Files(s, db, view) {
			st := harness.Stat(t, path)
			require.Equal(t, (st.Size+511)/512, st.Blocks, path)
			for _, args := range [][]string{
				{"sh", "-c", `tar --sparse -cf copy.tar -C "$(dirname "$0")" "$(basename "$0")" && tar -xf copy.tar && mv "$(basename "$0")" copy`, path},
				{"cp", "--sparse=auto", path, "copy"},
				{"cp", "--sparse=always", path, "copy"},
			} {
				dir := runTool(t, 0, args...)
				require.Equal(t, sum(t, path), sum(t, filepath.Join(dir, "copy")), "%s: %v", name, args)
			}
			if st.Size == 0 {
				continue
			}
			f, err := os.Open(path)
			require.NoError(t, err)
			data, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
			require.NoError(t, err)
			hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			require.Equal(t, []int64{0, st.Size}, []int64{data, hole}, path)
		}
	}
	out, err := exec.Command("du", "-B1", "-s", s.Path("head")).Output()
	require.NoError(t, err)
	total := int64(0)
	for _, path := range harness.Files(s, db, "head") {
		total += harness.Stat(t, path).Size
	}
	used := int64(0)
	_, err = fmt.Sscan(string(out), &used)
	require.NoError(t, err)
	require.GreaterOrEqual(t, used, total)
}

// TestWatchOpenedForReadingIsNoLink: it is empty, and no bound of links counts it.
func TestWatchOpenedForReadingIsNoLink(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo")
	for range 1000 {
		fd, err := harness.OpenFile(s.Path("head/watch"), unix.O_RDONLY)
		require.NoError(t, err)
		defer unix.Close(fd)
		n, err := unix.Read(fd, make([]byte, 100))
		require.NoError(t, err)
		require.Zero(t, n)
		_, err = unix.Write(fd, []byte("1 bye\n"))
		require.ErrorIs(t, err, unix.EBADF)
	}
	require.EqualValues(t, 0, s.Metrics()["watchlinks"])
	for _, flags := range []int{unix.O_RDWR, unix.O_WRONLY} {
		fd, err := harness.OpenFile(s.Path("head/watch"), flags)
		require.NoError(t, err)
		harness.Until(t, "it is a link", func() bool { return s.Metrics()["watchlinks"] == 1 })
		unix.Close(fd)
		harness.Until(t, "it is none any more", func() bool { return s.Metrics()["watchlinks"] == 0 })
	}
}

// inodes returns what getdents(2) tells of a directory: the numbers of names.
func inodes(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	fd, err := harness.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	require.NoError(t, err)
	defer unix.Close(fd)
	all := make(map[string]uint64)
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		require.NoError(t, err)
		if n == 0 {
			return all
		}
		for entry := buf[:n]; len(entry) > 0; {
			length := endian.NativeEndian.Uint16(entry[16:])
			name := entry[19:length]
			all[unix.ByteSliceToString(name)] = endian.NativeEndian.Uint64(entry)
			entry = entry[length:]
		}
	}
}

// TestDirectoriesAreComplete: they have themselves and what they are in, with the
// numbers that stat tells, which do not change with the server.
func TestDirectoriesAreComplete(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	path := harness.CopyDatabase(t, "basic")
	view, arr := "@"+db.Head.String(), db.Files["arr"].Oid.String()
	look := func() (numbers map[string]uint64) {
		s := harness.StartOn(t, path)
		defer s.Stop()
		numbers = make(map[string]uint64)
		harness.Stat(t, s.Path("head/bigfile", arr))
		harness.Stat(t, s.Path(view))
		require.Equal(t, []string{"arrays", "bigfile"}, harness.List(t, s.Path(view)))
		unseen := inodes(t, s.Path(view))["bigfile"]
		harness.Stat(t, s.Path(view, "bigfile", arr))
		require.Equal(t, unseen, harness.Stat(t, s.Path(view, "bigfile")).Ino, "it was listed with this number")
		for _, dir := range []string{".", ".wcfs", "head", "head/arrays", "head/bigfile", view, view + "/arrays", view + "/bigfile"} {
			listed := inodes(t, s.Path(dir))
			require.Equal(t, harness.Stat(t, s.Path(dir)).Ino, listed["."], dir)
			above := filepath.Dir(dir) // the root is in itself here
			require.Equal(t, harness.Stat(t, s.Path(above)).Ino, listed[".."], dir)
			for name, ino := range listed {
				if name != "." && name != ".." {
					require.Equal(t, harness.Stat(t, s.Path(dir, name)).Ino, ino, "%s/%s", dir, name)
					numbers[filepath.Join(dir, name)] = ino
				}
			}
		}
		require.EqualValues(t, 1, harness.Stat(t, s.Dir).Ino)
		return numbers
	}
	numbers := look()
	require.Equal(t, numbers, look())
	seen := make(map[uint64]string)
	for name, ino := range numbers {
		require.Greater(t, ino, uint64(1), name)
		require.Empty(t, seen[ino], name)
		seen[ino] = name
	}
	require.NotZero(t, numbers[filepath.Join(view, "bigfile", arr)])
}
