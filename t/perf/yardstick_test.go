package perf

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// yardstickThreads is how many requests the yardstick can have in work, which is more than
// processors could.
const yardstickThreads = 4

// Yardstick is a mounted yardstick/yardstick.c.
type Yardstick struct {
	*harness.Helper
	dir string
	dev uint64
}

// buildYardstick compiles the program for the yardsticks of a test.
func buildYardstick(t testing.TB) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "yardstick")
	gcc := exec.Command("gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", program, "yardstick/yardstick.c")
	out, err := gcc.CombinedOutput()
	require.NoError(t, err, "%s: %s", gcc, out)
	return program
}

// startYardstick mounts a file of so many bytes, until the test ends.
func startYardstick(t testing.TB, program string, size int64) *Yardstick {
	t.Helper()
	y := &Yardstick{dir: filepath.Join(t.TempDir(), "yardstick")}
	require.NoError(t, os.Mkdir(y.dir, 0o755))
	t.Cleanup(func() { y.leaveNothing(t) }) // when the process is gone
	y.Helper = harness.StartProgram(t, program, y.dir, fmt.Sprint(size), fmt.Sprint(yardstickThreads))
	require.Equal(t, "ready", y.Line())
	var st unix.Stat_t
	require.NoError(t, unix.Stat(y.dir, &st))
	y.dev = st.Dev
	limit := time.AfterFunc(yardstickLimit, func() {
		t.Errorf("the yardstick did not end within %s; aborting it", yardstickLimit)
		harness.AbortConnection(y.dev)
	})
	t.Cleanup(func() {
		limit.Stop()
		if y.Cmd.ProcessState == nil { // the test has failed, and anybody may wait for anything
			harness.AbortConnection(y.dev)
		}
	})
	return y
}

// yardstickLimit is how long a yardstick may live.
const yardstickLimit = 10 * time.Minute

// path returns the file.
func (y *Yardstick) path() string { return filepath.Join(y.dir, "data") }

// inval has the kernel drop the first blocks, and returns how long that took.
func (y *Yardstick) inval(n, blksize int64) time.Duration {
	y.T.Helper()
	return duration(y.T, y.Ask(fmt.Sprintf("inval %d %d", n, blksize)))
}

// Stop ends the yardstick, and requires that it ends well. Nobody may use it any more.
func (y *Yardstick) Stop() {
	y.T.Helper()
	require.Zero(y.T, y.Wait())
	require.False(y.T, mounted(y.T, y.dir))
}

// mounted reports whether there is a mount, which may be dead.
func mounted(t testing.TB, dir string) bool {
	t.Helper()
	entries, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	require.NoError(t, err)
	return len(entries) > 0
}

// leaveNothing takes away the mount of a yardstick that was killed.
func (y *Yardstick) leaveNothing(t testing.TB) {
	if mounted(t, y.dir) {
		require.NoError(t, unix.Unmount(y.dir, unix.MNT_DETACH), "a mount is left on %s", y.dir)
	}
}

// duration is what a helper has measured.
func duration(t testing.TB, ns string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(ns + "ns")
	require.NoError(t, err)
	return d
}

// needsRoot skips what mounts without wcfs.
func needsRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the yardstick is mounted by root alone")
	}
}

// TestYardstickServesItsFile as wcfs does: by requests of the same sizes, and again from
// the server once the kernel was told to drop a block.
func TestYardstickServesItsFile(t *testing.T) {
	needsRoot(t)
	const blksize, nblk = 2 << 20, 3
	y := startYardstick(t, buildYardstick(t), nblk*blksize-100)
	all := bytes.Repeat([]byte("y"), nblk*blksize-100)
	resident := func() string { return harness.RunHelper(t, "resident", y.path(), fmt.Sprint(blksize)) }
	require.Equal(t, string(all), harness.Content(t, y.path()))
	require.Equal(t, "111", resident())
	require.Positive(t, y.inval(2, blksize))
	require.Equal(t, "001", resident())
	require.Equal(t, string(all), harness.Content(t, y.path()))
	_, err := os.Stat(filepath.Join(y.dir, "else"))
	require.ErrorIs(t, err, os.ErrNotExist)
	y.Stop()
}

// TestYardstickThatIsKilledLeavesNoMount: nor does a bench that fails.
func TestYardstickThatIsKilledLeavesNoMount(t *testing.T) {
	needsRoot(t)
	program, dir := buildYardstick(t), ""
	t.Run("killed", func(t *testing.T) {
		y := startYardstick(t, program, 4096)
		dir = y.dir
		require.Equal(t, strings.Repeat("y", 4096), harness.Content(t, y.path()))
		y.Kill()
	})
	require.NotEmpty(t, dir)
	require.False(t, mounted(t, dir))
}
