package operate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// Hold lets a process hold a file of the mount open.
func (b *Background) Hold(name string) *harness.Helper {
	b.t.Helper()
	h := harness.StartHelper(b.t, "hold", filepath.Join(b.Dir, name))
	require.Equal(b.t, "ready", h.Line())
	return h
}

// requireEnded requires that a helper was ended by a signal.
func requireEnded(h *harness.Helper, sig unix.Signal) {
	h.T.Helper()
	_ = h.Cmd.Wait()
	require.Equal(h.T, "signal: "+sig.String(), h.Cmd.ProcessState.String())
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
				var h *harness.Helper
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
				require.Contains(t, words, fmt.Sprintf("used by pid %d (", h.Cmd.Process.Pid))
				require.Contains(t, words, "ending clients by SIGTERM")
				requireEnded(h, unix.SIGTERM)
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
		harness.Until(t, "the group is empty", func() bool { return os.Remove(dir) == nil })
	})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(pid)), 0))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte("1"), 0))
	harness.Until(t, "it is frozen", func() bool {
		return strings.Contains(harness.Content(t, filepath.Join(dir, "cgroup.events")), "frozen 1")
	})
}

// TestStopEndsADeadlockedServer, and a client that waits for it, by all means in
// order, within the budget.
func TestStopEndsADeadlockedServer(t *testing.T) {
	t.Parallel()
	for _, used := range []bool{false, true} {
		b := MountBackground(t)
		var h *harness.Helper
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
		requireEnded(h, unix.SIGTERM)
	}
}

// TestStopLeavesWhoCalledIt: somebody in a shell in the mount is told to leave.
func TestStopLeavesWhoCalledIt(t *testing.T) {
	t.Parallel()
	b := MountBackground(t)
	out, err := shellIn(b.Dir, `"$0" stop "$1"; echo "code $?"`, harness.Binary, b.Path)
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
	h := harness.StartHelper(t, "hold", filepath.Join(place, "head"))
	require.Equal(t, "ready", h.Line())
	code, words := b.Stop()
	require.Equal(t, 11, code, words)
	requireEnded(h, unix.SIGTERM)
	b.requireNothing()
	require.Empty(t, harness.Mounts(place))
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
		code, _, words := harness.Run(t, "stop", name)
		require.Equal(t, 1, code, words)
		require.Contains(t, words, "something else (tmpfs none) is mounted on top of the server; unmount that first: umount "+b.Dir)
		require.FileExists(t, precious)
		b.Pid()
	}
	b.Signal(unix.SIGTERM)
	harness.Until(t, "it ends", func() bool { return len(b.Pids()) == 0 })
	require.FileExists(t, precious)
	require.NoError(t, unix.Unmount(b.Dir, 0))
}

// TestStopOfADirectoryAboveLeavesTheServer: a server has that open, too, but is not
// about to mount there.
func TestStopOfADirectoryAboveLeavesTheServer(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo")
	code, _, words := harness.Run(t, "stop", filepath.Dir(s.Dir))
	require.Zero(t, code, words)
	require.Contains(t, words, "not running")
	require.NotEmpty(t, harness.Content(t, s.Path("head/at")))
	s.Stop()
}

// TestStopOfSeveralAsksWhich, unless one of them is at the usual place.
func TestStopOfSeveralAsksWhich(t *testing.T) {
	t.Parallel()
	b := NewBackground(t)
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, dir := range dirs {
		code, out, words := harness.Run(t, "mount", b.Path, dir)
		require.Zero(t, code, words)
		require.Equal(t, dir+"\n", out)
		t.Cleanup(func() { _, _, _ = harness.Run(t, "stop", dir) })
	}
	code, words := b.Stop()
	require.Equal(t, 2, code, words)
	require.Contains(t, words, "several servers are running; name the mount point: ")
	b.Mount()
	code, words = b.Stop()
	require.Zero(t, code, words)
	b.requireNothing()
	for _, dir := range dirs {
		require.Len(t, harness.Mounts(dir), 1)
		code, _, words = harness.Run(t, "stop", dir)
		require.Zero(t, code, words)
		require.Empty(t, harness.Mounts(dir))
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
			code, _, words := harness.Run(t, command, b.Path)
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
			if n := len(harness.Mounts(b.Dir)); n > 1 {
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

// TestStopLeavesWhoOnlyStandsThere, and names them, unless it is told otherwise.
func TestStopLeavesWhoOnlyStandsThere(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{false, true} {
		b := MountBackground(t)
		pid := startIn(t, filepath.Join(b.Dir, "head"))
		h := b.Hold("head/at")
		var options []string
		if kill {
			options = append(options, "--kill")
		}
		code, words := b.Stop(options...)
		b.requireNothing()
		requireEnded(h, unix.SIGTERM) // it has something to lose
		require.Regexp(t, fmt.Sprintf(`used by pid %d \(sleep, user \w+\): cwd\n`, pid), words)
		if kill {
			require.Equal(t, 11, code, words)
			harness.Until(t, "it ends", func() bool { return statState(pid) == "" || statState(pid) == "Z" })
			continue
		}
		require.Equal(t, 1, code, words)
		require.Regexp(t, fmt.Sprintf(`still used by pid %d \(sleep, user \w+\): cwd; it has to let go, as by: cd /; wcfs stop --kill would have ended it\n$`, pid), words)
		require.Equal(t, "S", statState(pid))
	}
}

// statState returns the state of a process, "" if it is gone.
func statState(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}

// TestDetachedMountKeepsNobodyOut: somebody is inside, and goes on there; another
// server can have the place.
func TestDetachedMountKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	b := MountBackground(t)
	h := b.Hold("head/bigfile")
	old := b.Pid()
	flags := unix.MNT_DETACH
	require.NoError(t, unix.Unmount(b.Dir, flags))
	code, out, words := harness.Run(t, "mount", b.Path)
	require.Zero(t, code, words)
	require.Equal(t, b.Dir+"\n", out)
	require.NotEmpty(t, harness.Content(t, filepath.Join(b.Dir, "head/at")))
	require.NotEmpty(t, statState(old), "who is inside is served")
	require.Equal(t, "ENOENT", h.Ask("open " + filepath.Join(b.Dir, "head/unknown"))[:6])
	h.Kill()
	harness.Until(t, "the old server ends", func() bool { return statState(old) == "" })
	require.NotEmpty(t, harness.Content(t, filepath.Join(b.Dir, "head/at")))
	code, words = b.Stop()
	require.Zero(t, code, words)
	b.requireNothing()
}

// TestNamesOfOthersAreShownHarmless: whoever chooses a mount point or a program does not
// choose what terminals of others do.
func TestNamesOfOthersAreShownHarmless(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a\x1b[2Jb\rc\u009b\xff")
	require.NoError(t, os.Mkdir(dir, 0o755))
	b := NewBackground(t)
	path := filepath.Join(t.TempDir(), "d\x1b]0;x\x07.fs")
	harness.CopyFile(t, b.Path, path)
	code, _, words := harness.Run(t, "mount", path, dir)
	require.Zero(t, code, words)
	t.Cleanup(func() { _, _, _ = harness.Run(t, "stop", dir) })
	sleep := filepath.Join(t.TempDir(), "s\x1bp\xff")
	harness.CopyFile(t, "/bin/sleep", sleep)
	require.NoError(t, os.Chmod(sleep, 0o755))
	cmd := exec.Command(sleep, "1000")
	cmd.Dir = filepath.Join(dir, "head")
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	require.NoError(t, harness.StartProcess(cmd))
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"status"}, {"status", dir}, {"status", "--json", dir}, {"mount", path, dir}, {"stop", dir + "/nothing"}, {"stop", "--kill", dir}} {
		_, out, words := harness.Run(t, args...)
		if args[0] == "mount" {
			out = "" // for programs
		}
		require.NotRegexp(t, "[\x00-\x08\x0b-\x1f\x7f\u0080-\u009f]", out+words, args)
		require.True(t, utf8.ValidString(out+words), args)
		if args[0] != "list" {
			require.Contains(t, out+words, `\`, args)
		}
		if args[0] == "stop" && len(args) == 3 {
			require.Contains(t, words, `(s\x1bp\xff, `)
		}
	}
	_ = cmd.Wait()
	require.Empty(t, harness.Mounts(dir))
}
