package operate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// startIn starts a program that has dir as its current directory, until the test
// ends.
func startIn(t testing.TB, dir string) (pid int) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, harness.StartProcess(cmd))
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	return cmd.Process.Pid
}

// shellIn runs a shell script in dir and returns what it said.
func shellIn(dir, script string, args ...string) (out string, err error) {
	cmd := exec.Command("sh", append([]string{"-c", script}, args...)...)
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// TestMountLeavesTheTerminal: what it has started has a session of its own,
// nothing of ours, and looks as clients expect.
func TestMountLeavesTheTerminal(t *testing.T) {
	t.Parallel()
	b := MountBackground(t, "-pintimeout", "3s")
	require.Equal(t, "3.0", harness.Content(t, filepath.Join(b.Dir, ".wcfs/pintimeout")))
	require.Equal(t, b.ZURL, harness.Content(t, filepath.Join(b.Dir, ".wcfs/zurl")))
	pid := b.Pid()
	sid, err := unix.Getsid(pid)
	require.NoError(t, err)
	require.Equal(t, pid, sid)
	args := strings.Split(harness.Content(t, fmt.Sprintf("/proc/%d/cmdline", pid)), "\x00")
	require.Equal(t, []string{b.ZURL, b.Dir, ""}, args[len(args)-3:])
	require.Equal(t, "wcfs\n", harness.Content(t, fmt.Sprintf("/proc/%d/comm", pid)))
	for fd, want := range map[int]string{0: "/dev/null", 1: "/dev/null", 2: "/dev/null"} {
		is, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		require.NoError(t, err)
		require.Equal(t, want, is)
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	require.NoError(t, err)
	require.Equal(t, "/", cwd)
	code, words := b.Stop()
	require.Zero(t, code, words)
	require.Empty(t, words)
	b.requireNothing()
}

// TestMountInATemporaryPlaceOfAScript: paths of options are those of where the command
// is typed, and the server keeps nothing that the script has open.
func TestMountInATemporaryPlaceOfAScript(t *testing.T) {
	t.Parallel()
	b := NewBackground(t)
	dir := t.TempDir()
	out, err := shellIn(dir, `exec 9> lock 7< "$1"; "$0" mount --metrics unix:m.sock --pprof unix:./p.sock --log-file log "$1"`, harness.Binary, b.Path)
	require.NoError(t, err, out)
	require.Equal(t, b.Dir+"\n", out)
	for _, name := range []string{"m.sock", "p.sock", "log"} {
		_, err := os.Lstat(filepath.Join(dir, name))
		require.NoError(t, err)
	}
	fds := fmt.Sprintf("/proc/%d/fd", b.Pid())
	for _, fd := range harness.List(t, fds) {
		is, _ := os.Readlink(filepath.Join(fds, fd)) // it may be gone
		require.NotEqual(t, filepath.Join(dir, "lock"), is)
	}
}

// TestMountHandsOnTheFailure: it says what serve says, with the same exit code,
// and leaves nothing.
func TestMountHandsOnTheFailure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	junk, full := filepath.Join(dir, "junk"), filepath.Join(dir, "full")
	require.NoError(t, os.WriteFile(junk, []byte("no database at all"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(full, "x"), 0o755))
	good := harness.CopyDatabase(t, "topo")
	for _, c := range []struct {
		code int
		args []string
	}{
		{6, []string{dir + "/missing.fs"}},
		{7, []string{junk}},
		{5, []string{good, dir + "/missing"}},
		{5, []string{good, full}},
		{12, []string{"rlite://localhost:1", t.TempDir()}},
		{2, []string{"-log_dir", dir + "/missing", good}},
	} {
		code, _, want := harness.Run(t, append([]string{"serve"}, c.args...)...)
		require.Equal(t, c.code, code, "%v", c.args)
		code, out, words := harness.Run(t, append([]string{"mount"}, c.args...)...)
		require.Equal(t, c.code, code, "%v", c.args)
		require.Empty(t, out)
		require.Equal(t, want, words)
		require.Regexp(t, `^wcfs: .*\n$`, words)
		require.NoDirExists(t, harness.DefaultPoint("file://"+c.args[len(c.args)-1]))
	}
}

// TestMountWhereItMayNot: the host lets nobody write at the usual place.
func TestMountWhereItMayNot(t *testing.T) {
	if os.Getuid() != 0 || exec.Command("unshare", "-m", "true").Run() != nil {
		t.Skip("only root can have a mount namespace of its own")
	}
	t.Parallel()
	b := NewBackground(t)
	out, err := exec.Command("unshare", "-m", "sh", "-c",
		`mount -t tmpfs -o ro none /dev/shm && exec "$0" mount "$1"`, harness.Binary, b.Path).CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 5, exit.ExitCode())
	require.Equal(t, "wcfs: mount point /dev/shm/wcfs: mkdir /dev/shm/wcfs: read-only file system\n", string(out))
}

// TestHundredStartsGiveOneServer: whoever is too late says where it is.
func TestHundredStartsGiveOneServer(t *testing.T) {
	t.Parallel()
	const starts = 100
	b := NewBackground(t)
	codes, outs, words := [starts]int{}, [starts]string{}, [starts]string{}
	var all sync.WaitGroup
	for i := range starts {
		name := []string{b.Path, b.ZURL}[i%2]
		all.Go(func() { codes[i], outs[i], words[i] = harness.Run(t, "mount", name) })
	}
	all.Wait()
	winners := 0
	for i := range starts {
		require.Equal(t, b.Dir+"\n", outs[i], words[i])
		if codes[i] == 0 {
			winners++
			require.Empty(t, words[i])
			continue
		}
		require.Equal(t, 3, codes[i], words[i])
		require.Equal(t, "wcfs: already running at "+b.Dir+"\n", words[i])
	}
	require.Equal(t, 1, winners)
	b.Pid()
	b.requireServed()
}

// TestMountAfterACrash: the mount of the dead server is cleared, with one line.
func TestMountAfterACrash(t *testing.T) {
	t.Parallel()
	b := MountBackground(t)
	for range 3 {
		b.Kill()
		words := b.Mount()
		require.Equal(t, 1, strings.Count(words, "\n"), words)
		require.Contains(t, words, "is dead; it is detached")
		b.requireServed()
	}
}

// TestMountKeepsToTheMountPoint: it is given by any path, and stays after stop.
func TestMountKeepsToTheMountPoint(t *testing.T) {
	t.Parallel()
	b := NewBackground(t)
	dir := t.TempDir()
	b.Dir = filepath.Join(dir, "mnt")
	require.NoError(t, os.Mkdir(b.Dir, 0o755))
	require.NoError(t, os.Symlink("mnt", filepath.Join(dir, "link")))
	for i, name := range []string{"mnt", "link", "./mnt/", "../" + filepath.Base(dir) + "/link"} {
		cmd := exec.Command(harness.Binary, "mount", b.Path, name)
		cmd.Dir = dir
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, b.Dir+"\n", string(out))
		b.requireServed()
		stop := []string{b.Dir, filepath.Join(dir, "link"), b.Path, b.ZURL}[i]
		code, _, words := harness.Run(t, "stop", stop)
		require.Zero(t, code, words)
		require.Empty(t, b.Pids())
		require.Empty(t, harness.Mounts(b.Dir))
		require.DirExists(t, b.Dir)
	}
	require.NoError(t, os.Remove(b.Dir))
}

// TestMountNeedsNoEnvironment: mount(8) and supervisors give none.
func TestMountNeedsNoEnvironment(t *testing.T) {
	t.Parallel()
	b := NewBackground(t)
	dir, name := filepath.Split(b.Path)
	for _, args := range [][]string{{"mount", name}, {"status", name}, {"list"}, {"stop", name}} {
		cmd := exec.Command(harness.Binary, args...)
		cmd.Dir, cmd.Env = dir, []string{}
		var words bytes.Buffer
		cmd.Stderr = &words
		require.NoError(t, cmd.Run(), "%v: %s", args, words.String())
	}
	b.requireNothing()
}

// TestMountLogsIntoTheFile: all of it from the first line on, also what the
// runtime says at the end.
func TestMountLogsIntoTheFile(t *testing.T) {
	t.Parallel()
	b := NewBackground(t)
	log := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(log, []byte("before\n"), 0o600))
	require.Empty(t, b.Mount("--log-file", log))
	b.Signal(unix.SIGQUIT)
	harness.Until(t, "it ended", func() bool { return len(b.Pids()) == 0 })
	text := harness.Content(t, log)
	require.True(t, strings.HasPrefix(text, "before\nI"), text)
	require.Contains(t, text, fmt.Sprintf("start %q %q", b.Dir, b.ZURL))
	require.Contains(t, text, "SIGQUIT: quit")
	require.Contains(t, text, "goroutine ")

	b.Mount("--log-file", log)
	code, words := b.Stop()
	require.Zero(t, code, words)
	require.Contains(t, harness.Content(t, log), fmt.Sprintf("stop %q %q", b.Dir, b.ZURL))
}

// TestMountAutoExit: looking at a server does not end it, the last client does.
func TestMountAutoExit(t *testing.T) {
	t.Parallel()
	b := MountBackground(t, "-autoexit", shortLinger)
	for range 3 {
		code, _, words := harness.Run(t, "status", b.Path)
		require.Zero(t, code, words)
		_, _, _ = harness.Run(t, "list")
	}
	client := harness.StartHelper(t, "hold", filepath.Join(b.Dir, ".wcfs/zurl"))
	require.Equal(t, "ready", client.Line())
	b.requireServed()
	client.Kill()
	harness.Until(t, "the server ends", func() bool { return len(b.Pids()) == 0 })
	b.requireNothing()
}

// TestInterruptedMountLeavesNothing: at whatever moment, by Ctrl-C or by death.
// It has mounted, or nothing of it is left.
func TestInterruptedMountLeavesNothing(t *testing.T) {
	t.Parallel()
	b := NewBackground(t)
	for round := range 40 {
		sig := []os.Signal{os.Interrupt, syscall.SIGKILL}[round%2]
		delay := time.Duration(rand.Int64N(int64(60 * time.Millisecond)))
		cmd := exec.Command(harness.Binary, "mount", b.Path)
		require.NoError(t, harness.StartProcess(cmd))
		time.Sleep(delay) // any moment will do
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait()
		if cmd.ProcessState.ExitCode() == 0 {
			b.requireServed()
		}
		t.Logf("%s after %s: %s", sig, delay, cmd.ProcessState)
		if sig == os.Interrupt && cmd.ProcessState.ExitCode() != 0 {
			b.requireNothing()
		}
		code, words := b.Stop()
		require.Zero(t, code, words)
		// A server that nobody waits for ends when it has noticed; first it may still be
		// a copy of who started it.
		harness.Until(t, "the server is gone", func() bool {
			return len(b.pidsOf("mount", b.Path)) == 0 && len(b.Pids()) == 0 && len(harness.Mounts(b.Dir)) == 0
		})
		b.requireNothing()
	}
}

// TestMountOfAnotherUser: who asks for a place that is taken is told whose it is,
// and what to do.
func TestMountOfAnotherUser(t *testing.T) {
	needStranger(t)
	t.Parallel()
	b := MountBackground(t)
	harness.LetPass(t, b.Path)
	code, words := harness.RunAs(t, stranger, "mount", b.Path, b.Dir)
	require.Equal(t, 3, code, words)
	require.Equal(t, fmt.Sprintf("wcfs: %s: the server there belongs to user root, and nobody else can use it; "+
		"choose a mount point of your own: wcfs mount %s MOUNTPOINT\n", b.Dir, b.ZURL), words)
	code, words = harness.RunAs(t, stranger, "status", b.Path)
	require.Equal(t, 1, code, words)
	require.Contains(t, words, "belongs to user root")
	code, words = harness.RunAs(t, stranger, "stop", b.Path)
	require.Equal(t, 1, code, words)
	require.Contains(t, words, "only they and root can stop it")
	b.requireServed()
}

// TestServerThatDiedLeavesItsReason: status and list tell it after the fact, until
// there is a new server, or somebody has said that he knows.
func TestServerThatDiedLeavesItsReason(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	b := MountBackground(t, "--log-file", log)
	pid := b.Pid()
	require.NotContains(t, told(t, "status", b.Path), "ended")

	b.Kill()
	for _, args := range [][]string{{"list"}, {"status"}, {"status", b.Path}, {"status", b.Dir}, {"list", "--json"}, {"status", "--json", b.Path}} {
		text := told(t, args...)
		require.Contains(t, text, "it did not say why: it was killed (by kill -9", args)
		require.Contains(t, text, log, args)
		require.Contains(t, text, b.Dir, args)
	}
	code, words := b.Stop()
	require.Zero(t, code, words)
	require.NotContains(t, told(t, "status", b.Path), "it was killed")

	// An error is told, and that of a server of another place is not.
	code, _, words = harness.Run(t, "mount", b.Path)
	require.Zero(t, code, words)
	require.NotEqual(t, pid, b.Pid())
	require.NoError(t, os.Truncate(b.Path, 100)) // it cannot be followed any more
	harness.Until(t, "it gives up", func() bool { return len(b.Pids()) == 0 })
	text := told(t, "status", b.Path)
	require.Regexp(t, `wcfs: `+b.Dir+`: the server of `+b.ZURL+` \(pid \d+\) ended at \S+ with code 1: watch the database: `, text)
	code, _, stderr := harness.Run(t, "status", b.Dir)
	require.Equal(t, 4, code, stderr)
	require.NotContains(t, told(t, "status", "/nothing.fs"), b.Dir)

	// A new one has nothing to do with that.
	harness.CopyFile(t, harness.Repo("t/testdata/topo.fs"), b.Path)
	code, _, words = harness.Run(t, "mount", b.Path)
	require.Zero(t, code, words)
	require.NotContains(t, told(t, "list"), b.Dir+": the server of")
	code, words = b.Stop()
	require.Zero(t, code, words)
	require.NotContains(t, told(t, "list"), b.Dir)
	b.requireNothing()
}

// told returns all that a command says.
func told(t *testing.T, args ...string) string {
	t.Helper()
	_, out, words := harness.Run(t, args...)
	return out + words
}
