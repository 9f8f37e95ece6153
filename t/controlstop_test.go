package t

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Hold lets a process hold a file of the mount open.
func (b *Background) Hold(name string) *Helper {
	b.t.Helper()
	h := StartHelper(b.t, "hold", filepath.Join(b.Dir, name))
	require.Equal(b.t, "ready", h.Line())
	return h
}

// requireEnded requires that a helper was ended by a signal.
func (h *Helper) requireEnded(sig unix.Signal) {
	h.t.Helper()
	_ = h.cmd.Wait()
	require.Equal(h.t, "signal: "+sig.String(), h.cmd.ProcessState.String())
}

// TestStopEndsWhateverStateTheServerIsIn: alive, stopped or dead; idle, used by a
// client, or used by one that waits for it.
func TestStopEndsWhateverStateTheServerIsIn(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"alive", "stopped", "dead"} {
		for _, client := range []string{"nobody", "holds", "waits"} {
			t.Run(state+"/"+client, func(t *testing.T) {
				t.Parallel()
				b := MountBackground(t)
				var h *Helper
				if client != "nobody" {
					h = b.Hold("head/bigfile")
				}
				switch state {
				case "stopped":
					b.Signal(unix.SIGSTOP)
				case "dead":
					b.Kill()
				}
				if client == "waits" {
					h.Tell("open " + filepath.Join(b.Dir, "head/unknown"))
				}
				begin := time.Now()
				code, words := b.Stop()
				require.Less(t, time.Since(begin), 20*time.Second)
				b.requireNothing()
				if h == nil {
					require.Zero(t, code, words)
					return
				}
				require.Equal(t, 11, code, words)
				require.Contains(t, words, "cannot be unmounted: it is in use")
				require.Contains(t, words, fmt.Sprintf("used by pid %d (", h.cmd.Process.Pid))
				require.Contains(t, words, "ending clients by SIGTERM")
				h.requireEnded(unix.SIGTERM)
			})
		}
	}
}

// freeze makes a process as dead-locked as can be: it takes notice of no signal
// but SIGKILL.
func freeze(t *testing.T, pid int) {
	t.Helper()
	entries, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	require.NoError(t, err)
	if len(entries) == 0 || os.Getuid() != 0 {
		t.Skip("only root can freeze a process, with cgroup2")
	}
	dir := filepath.Join(entries[0].Mountpoint, filepath.Base(os.TempDir())+fmt.Sprint(pid))
	require.NoError(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte("0"), 0)
		until(t, "the group is empty", func() bool { return os.Remove(dir) == nil })
	})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(pid)), 0))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte("1"), 0))
	until(t, "it is frozen", func() bool {
		return strings.Contains(content(t, filepath.Join(dir, "cgroup.events")), "frozen 1")
	})
}

// TestStopEndsADeadlockedServer, and a client that waits for it, by all means in
// order, within the budget.
func TestStopEndsADeadlockedServer(t *testing.T) {
	t.Parallel()
	for _, used := range []bool{false, true} {
		b := MountBackground(t)
		var h *Helper
		if used {
			h = b.Hold("head/bigfile")
		}
		freeze(t, b.Pid())
		if used {
			h.Tell("open " + filepath.Join(b.Dir, "head/unknown"))
		}
		begin := time.Now()
		code, words := b.Stop("--timeout", "10s")
		require.Less(t, time.Since(begin), 12*time.Second)
		b.requireNothing()
		require.Contains(t, words, "the server does not end")
		require.Contains(t, words, "threads of the server:")
		require.Regexp(t, `(?s)still running; sending SIGQUIT.*still running; sending SIGKILL`, words)
		if !used {
			require.Zero(t, code, words)
			continue
		}
		require.Equal(t, 11, code, words)
		require.Contains(t, words, "the FUSE connection was aborted")
		h.requireEnded(unix.SIGTERM)
	}
}

// TestStopLeavesWhoCalledIt: somebody in a shell in the mount is told to leave.
func TestStopLeavesWhoCalledIt(t *testing.T) {
	t.Parallel()
	b := MountBackground(t)
	out, err := shellIn(b.Dir, `"$0" stop "$1"; echo "code $?"`, binary, b.Path)
	require.NoError(t, err, out)
	require.Contains(t, out, "still used by pid ")
	require.Contains(t, out, "code 1\n")
	b.requireNothing()
}

// TestStopTakesAllPlaces: a bind mount would keep the data of the server alive.
func TestStopTakesAllPlaces(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can bind mounts")
	}
	t.Parallel()
	b := MountBackground(t)
	place := t.TempDir()
	require.NoError(t, unix.Mount(b.Dir, place, "", unix.MS_BIND, ""))
	h := StartHelper(t, "hold", filepath.Join(place, "head"))
	require.Equal(t, "ready", h.Line())
	code, words := b.Stop()
	require.Equal(t, 11, code, words)
	h.requireEnded(unix.SIGTERM)
	b.requireNothing()
	require.Empty(t, wcfsMounts(place))
}

// TestStopLeavesWhatIsMountedOnTop of the server, and the server with it.
func TestStopLeavesWhatIsMountedOnTop(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a tmpfs")
	}
	t.Parallel()
	b := MountBackground(t)
	require.NoError(t, unix.Mount("none", b.Dir, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(b.Dir, unix.UMOUNT_NOFOLLOW) })
	precious := filepath.Join(b.Dir, "precious")
	require.NoError(t, os.WriteFile(precious, nil, 0o600))
	for _, name := range []string{b.Path, b.Dir} {
		code, _, words := wcfs(t, "stop", name)
		require.Equal(t, 1, code, words)
		require.Contains(t, words, "something else (tmpfs none) is mounted on top of the server; unmount that first: umount "+b.Dir)
		require.FileExists(t, precious)
		b.Pid()
	}
	b.Signal(unix.SIGTERM)
	until(t, "it ends", func() bool { return len(b.Pids()) == 0 })
	require.FileExists(t, precious)
	require.NoError(t, unix.Unmount(b.Dir, 0))
}

// TestStopOfADirectoryAboveLeavesTheServer: a server has that open, too, but is not
// about to mount there.
func TestStopOfADirectoryAboveLeavesTheServer(t *testing.T) {
	t.Parallel()
	s := Start(t, "topo")
	code, _, words := wcfs(t, "stop", filepath.Dir(s.Dir))
	require.Zero(t, code, words)
	require.Contains(t, words, "not running")
	require.NotEmpty(t, content(t, s.Path("head/at")))
	s.Stop()
}

// TestStopOfSeveralAsksWhich, unless one of them is at the usual place.
func TestStopOfSeveralAsksWhich(t *testing.T) {
	t.Parallel()
	b := NewBackground(t)
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, dir := range dirs {
		code, out, words := wcfs(t, "mount", b.Path, dir)
		require.Zero(t, code, words)
		require.Equal(t, dir+"\n", out)
		t.Cleanup(func() { _, _, _ = wcfs(t, "stop", dir) })
	}
	code, words := b.Stop()
	require.Equal(t, 2, code, words)
	require.Contains(t, words, "several servers are running; name the mount point: ")
	b.Mount()
	code, words = b.Stop()
	require.Zero(t, code, words)
	b.requireNothing()
	for _, dir := range dirs {
		require.Len(t, wcfsMounts(dir), 1)
		code, _, words = wcfs(t, "stop", dir)
		require.Zero(t, code, words)
		require.Empty(t, wcfsMounts(dir))
	}
}

// TestStartsAndStopsAtTheSameTime: whatever the order, every one of them ends,
// there is never more than one server, and after a stop nothing is left.
func TestStartsAndStopsAtTheSameTime(t *testing.T) {
	t.Parallel()
	b := NewBackground(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var all sync.WaitGroup
	for range 60 {
		command := []string{"mount", "mount", "stop"}[random.IntN(3)]
		all.Go(func() {
			code, _, words := wcfs(t, command, b.Path)
			switch command {
			case "mount": // 1: it was stopped before it was ready, or at once
				if code != 0 && code != 3 && (code != 1 || !strings.Contains(words, " ready") && !strings.Contains(words, "context canceled")) {
					t.Errorf("mount: exit code %d: %s", code, words)
				}
			case "stop":
				if code != 0 && code != 11 {
					t.Errorf("stop: exit code %d: %s", code, words)
				}
			}
			if n := len(wcfsMounts(b.Dir)); n > 1 {
				t.Errorf("%d mounts", n)
			}
		})
		time.Sleep(time.Duration(random.Int64N(int64(30 * time.Millisecond))))
	}
	all.Wait()
	code, words := b.Stop()
	require.Zero(t, code, words)
	b.requireNothing()
}
