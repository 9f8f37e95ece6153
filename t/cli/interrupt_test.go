package cli

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// TestInterruptedCommandLeavesAllOrNothing: by Ctrl-C at whatever moment, of what it was
// to make and of what it makes on the way. It says so, and nothing else.
func TestInterruptedCommandLeavesAllOrNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, base := filepath.Join(dir, "data"), filepath.Join(dir, "Base.fs")
	require.NoError(t, os.WriteFile(data, bytes.Repeat([]byte("0123456789abcdef"), 2<<20), 0o644))
	importJSON(t, data, base, "big", "--raw")
	const nothing = "wcfs: import: interrupted; nothing was written\n"
	for name, c := range map[string]struct {
		args              []string
		nothing, all      []string // files
		interrupted, done string   // what is said
	}{
		"import": {[]string{"import", data, "D.fs", "more", "--raw"}, []string{"D.fs"}, []string{"D.fs", "D.fs.index", "D.fs.lock"}, nothing, ""},
		"create": {[]string{"import", data, "New.fs", "it", "--raw"}, []string{"D.fs"}, []string{"D.fs", "New.fs", "New.fs.index", "New.fs.lock"}, nothing, "created"},
		"export": {[]string{"export", base, "big", "-o", "out.npy"}, []string{"D.fs"}, []string{"D.fs", "out.npy"}, "wcfs: interrupted\n", "wrote out.npy"},
	} {
		for range 8 {
			work := t.TempDir()
			harness.CopyFile(t, base, filepath.Join(work, "D.fs"))
			killed, code, words := interrupt(t, work, time.Duration(rand.Int64N(int64(300*time.Millisecond))), c.args...)
			files := namesIn(t, work)
			if killed || code != 0 {
				require.Equal(t, c.nothing, files, "%s: %s", name, words)
				require.Equal(t, harness.Content(t, base), harness.Content(t, filepath.Join(work, "D.fs")), name)
			} else {
				require.Equal(t, c.all, files, "%s: %s", name, words)
				require.Contains(t, words, c.done)
			}
			if code != 0 {
				require.Equal(t, c.interrupted, words, name)
			}
		}
	}
}

// TestInterruptedServeLeavesNothing at whatever moment of its start.
func TestInterruptedServeLeavesNothing(t *testing.T) {
	t.Parallel()
	for range 20 {
		path, mnt := harness.CopyDatabase(t, "topo"), t.TempDir()
		before := namesIn(t, filepath.Dir(path))
		_, code, words := interrupt(t, mnt, time.Duration(rand.Int64N(int64(80*time.Millisecond))), "serve", path, mnt)
		require.Zero(t, code, words)
		require.Empty(t, harness.Mounts(mnt), words)
		require.Empty(t, harness.List(t, mnt), words)
		require.Equal(t, before, namesIn(t, filepath.Dir(path)))
	}
}

// interrupt runs wcfs in a directory, and interrupts it after a while. killed says that
// the signal has ended it, before it could do anything.
func interrupt(t *testing.T, dir string, after time.Duration, args ...string) (killed bool, code int, words string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(harness.Binary, args...)
	cmd.Dir, cmd.Stderr = dir, &stderr
	require.NoError(t, harness.StartProcess(cmd))
	time.Sleep(after) // any moment will do
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		require.Equal(t, syscall.SIGINT, status.Signal(), "after %s: %s", after, stderr.String())
		return true, 0, stderr.String()
	}
	return false, status.ExitStatus(), stderr.String()
}

// namesIn returns the names in a directory, in order.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
