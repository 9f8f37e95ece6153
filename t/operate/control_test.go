package operate

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"github.com/wcfs/wcfs/t/oracle"
	"golang.org/x/sys/unix"
)

// Background is a server that wcfs mount has started. It is nobody's child.
type Background struct {
	t    testing.TB
	Path string // of the database
	ZURL string
	Dir  string // the usual mount point
}

// NewBackground returns a private database that is not served yet. When the test
// ends, its server is stopped and nothing may be left.
func NewBackground(t testing.TB) *Background {
	t.Helper()
	path := harness.CopyDatabase(t, "topo")
	b := &Background{t: t, Path: path, ZURL: "file://" + path, Dir: harness.DefaultPoint("file://" + path)}
	t.Cleanup(func() {
		code, _, words := harness.Run(t, "stop", "--timeout", "10s", b.Dir)
		if code != 0 && code != 11 {
			t.Errorf("stop %s: exit code %d: %s", b.Dir, code, words)
		}
		b.requireNothing()
	})
	return b
}

// MountBackground serves a private database in the background.
func MountBackground(t testing.TB, options ...string) *Background {
	t.Helper()
	b := NewBackground(t)
	b.Mount(options...)
	return b
}

// Mount runs wcfs mount, which has to succeed, and returns what it said.
func (b *Background) Mount(options ...string) (words string) {
	b.t.Helper()
	code, out, words := harness.Run(b.t, append(append([]string{"mount"}, options...), b.Path)...)
	require.Zero(b.t, code, words)
	require.Equal(b.t, b.Dir+"\n", out)
	return words
}

// Pids returns the servers that run for the mount point, also if nothing is
// mounted there.
func (b *Background) Pids() (pids []int) { return b.pidsOf("serve", b.Dir) }

// pidsOf returns the processes of a command by its last argument.
func (b *Background) pidsOf(command, last string) (pids []int) {
	for _, dir := range harness.ServersLeft() {
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if words := strings.Split(string(args), "\x00"); len(words) > 3 && words[1] == command && words[len(words)-2] == last {
			pid, err := strconv.Atoi(filepath.Base(dir))
			require.NoError(b.t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// Pid returns the one server that runs.
func (b *Background) Pid() int {
	b.t.Helper()
	pids := b.Pids()
	require.Len(b.t, pids, 1)
	return pids[0]
}

// Signal sends sig to the server.
func (b *Background) Signal(sig unix.Signal) {
	b.t.Helper()
	require.NoError(b.t, unix.Kill(b.Pid(), sig))
}

// Kill ends the server as by kill -9, and waits until the mount knows.
func (b *Background) Kill() {
	b.t.Helper()
	b.Signal(unix.SIGKILL)
	harness.Until(b.t, "the mount is dead", func() bool {
		var st unix.Statfs_t
		return len(b.Pids()) == 0 && unix.Statfs(b.Dir, &st) == unix.ENOTCONN
	})
}

// Stop runs wcfs stop and returns its exit code and what it said.
func (b *Background) Stop(options ...string) (code int, words string) {
	b.t.Helper()
	code, out, words := harness.Run(b.t, append(append([]string{"stop"}, options...), b.Path)...)
	require.Empty(b.t, out)
	return code, words
}

// requireNothing requires that neither server, mount nor directory is there.
func (b *Background) requireNothing() {
	b.t.Helper()
	require.Empty(b.t, b.Pids(), "servers")
	require.Empty(b.t, harness.Mounts(b.Dir), "mounts")
	_, err := os.Lstat(b.Dir)
	require.ErrorIs(b.t, err, os.ErrNotExist, b.Dir)
}

// requireServed requires that the mount answers.
func (b *Background) requireServed() {
	b.t.Helper()
	require.Len(b.t, harness.Mounts(b.Dir), 1)
	require.Equal(b.t, oracle.Load(b.t, "topo").Head.String(), harness.Content(b.t, filepath.Join(b.Dir, "head/at")))
}

// serverJSON is what list and status tell about a server.
type serverJSON struct {
	Mountpoint string
	ZURL       string
	PID        int
	UID        int
	Started    *string
	State      string
	Device     string
	Checks     []struct {
		Name, Detail string
		OK           bool
	}
	Dump *struct {
		Waiting *int
		Threads []struct{ State string }
		Users   []struct {
			PID  int
			Name string
			Uses []string
		}
	}
}

// askJSON runs a command that prints servers, and returns that of the mount point.
func askJSON(t testing.TB, dir string, args ...string) (server *serverJSON, code int) {
	t.Helper()
	code, out, words := harness.Run(t, args...)
	var answer struct {
		Version int
		Servers []serverJSON
	}
	require.NoError(t, json.Unmarshal([]byte(out), &answer), "%s%s", out, words)
	require.Equal(t, 1, answer.Version)
	for i, s := range answer.Servers {
		if s.Mountpoint == dir {
			return &answer.Servers[i], code
		}
	}
	return nil, code
}

func TestListAndStatusTellOfARunningServer(t *testing.T) {
	t.Parallel()
	b := MountBackground(t)
	s, code := askJSON(t, b.Dir, "list", "--json")
	require.Zero(t, code)
	require.Equal(t, &serverJSON{Mountpoint: b.Dir, ZURL: b.ZURL, PID: b.Pid(), UID: os.Getuid(), Started: s.Started, State: "ok"}, s)
	require.NotNil(t, s.Started)

	_, out, _ := harness.Run(t, "list")
	require.Regexp(t, `(?m)^MOUNTPOINT +PID +UPTIME +DATABASE +STATE$`, out)
	require.Regexp(t, fmt.Sprintf(`(?m)^%s +%d +\d+s +%s +ok$`, b.Dir, b.Pid(), b.ZURL), out)

	for _, name := range []string{b.Path, b.ZURL, b.Dir, b.Dir + "/../" + filepath.Base(b.Dir) + "/"} {
		code, out, words := harness.Run(t, "status", name)
		require.Zero(t, code, words)
		require.Equal(t, 5, strings.Count(out, "\n"), out)
		require.Equal(t, 5, strings.Count("\n"+out, "\nok - "), out)
		require.Contains(t, out, fmt.Sprintf("ok - wcfs server: pid %d, up ", b.Pid()))
	}
	s, code = askJSON(t, b.Dir, "status", "--json")
	require.NotNil(t, s)
	require.Contains(t, []int{0, 1, 4, 10}, code, "there may be servers of others")
	require.Equal(t, "ok", s.State)
	require.Nil(t, s.Dump)
	require.Equal(t, fmt.Sprintf("0:%d", unix.Minor(harness.Stat(t, b.Dir).Dev)), s.Device)
}

// TestStatusOfNothingMakesNothing: no directory is made by looking.
func TestStatusOfNothingMakesNothing(t *testing.T) {
	t.Parallel()
	b := NewBackground(t)
	for _, name := range []string{b.Path, b.ZURL, b.Dir, t.TempDir()} {
		code, out, words := harness.Run(t, "status", name)
		require.Equal(t, 4, code, words)
		require.Empty(t, out)
		require.Regexp(t, `^wcfs: .*: no server is running; see those that are: wcfs list\n$`, words)
		code, out, words = harness.Run(t, "stop", name)
		require.Zero(t, code, words)
		require.Empty(t, out)
		require.Regexp(t, `^wcfs: .*: not running\n$`, words)
	}
	b.requireNothing()
}

func TestStatusOfADeadServer(t *testing.T) {
	t.Parallel()
	b := MountBackground(t)
	b.Kill()
	code, out, words := harness.Run(t, "status", b.Path)
	require.Equal(t, 4, code)
	require.Contains(t, out, "fail - wcfs server: no process serves this mount\nfail - stat mountpoint: ")
	require.Contains(t, words, "the server is dead")
	s, _ := askJSON(t, b.Dir, "list", "--json")
	require.Equal(t, "dead", s.State)
	require.Zero(t, s.PID)
}

// TestStatusOfAStuckServerSaysWhoWaits: within the limit, with the threads of the
// server and the users of the mount.
func TestStatusOfAStuckServerSaysWhoWaits(t *testing.T) {
	t.Parallel()
	b := MountBackground(t)
	file := filepath.Join(b.Dir, "head/bigfile", oracle.Load(t, "topo").Files["topo"].Oid.String())
	user := harness.StartHelper(t, "hold", file)
	require.Equal(t, "ready", user.Line())
	shell := startIn(t, b.Dir)
	pid := b.Pid()
	b.Signal(unix.SIGSTOP)
	user.Tell("read 0 0") // waits for the server, if the page is not known

	s, code := askJSON(t, b.Dir, "status", "--json", b.Path)
	require.Equal(t, 10, code)
	require.Equal(t, "stuck", s.State)
	require.Equal(t, pid, s.PID)
	require.Contains(t, s.Checks[1].Detail, "is stopped")
	require.NotEmpty(t, s.Dump.Threads)
	for _, thread := range s.Dump.Threads {
		require.Equal(t, "T", thread.State)
	}
	uses := map[int]string{}
	for _, u := range s.Dump.Users {
		uses[u.PID] = strings.Join(u.Uses, " ")
	}
	require.Len(t, uses, 2, "%v", uses)
	require.Regexp(t, `fd/\d+.* mmap/[0-9a-f]+-[0-9a-f]+`, uses[user.Cmd.Process.Pid])
	require.Equal(t, "cwd", uses[shell])

	code, out, words := harness.Run(t, "status", b.Dir)
	require.Equal(t, 10, code)
	require.Contains(t, out, "no answer within 5s")
	require.Regexp(t, fmt.Sprintf(`user of the mount: pid %d \(sleep, .*\): cwd`, shell), out)
	require.Equal(t, 1, strings.Count(words, "\n"), words)
	s, _ = askJSON(t, b.Dir, "list", "--json")
	require.Equal(t, "stuck", s.State)

	code, _, words = harness.Run(t, "mount", b.Path)
	require.Equal(t, 10, code)
	require.Contains(t, words, "there is a server that does not answer")

	b.Signal(unix.SIGCONT)
	require.Equal(t, "ok", user.Line())
	s, _ = askJSON(t, b.Dir, "status", "--json", b.Path)
	require.Equal(t, "ok", s.State)
}
