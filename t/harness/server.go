package harness

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Limit is how long one server may live. A test that needs longer hangs.
const Limit = 2 * time.Minute

// Server is a wcfs in a child process.
type Server struct {
	T      testing.TB
	Dir    string // mount point
	ZURL   string
	cmd    *exec.Cmd
	log    string        // path of what it printed on stderr
	logged bool          // what it logs is printed on stderr
	asked  bool          // it can be asked to log a line; see Log
	marks  atomic.Int64  // lines it was asked for; see Log
	exited chan struct{} // closed when the process was waited for
	dev    uint64        // st_dev of the mount
	timer  *time.Timer
	joined *os.File // .wcfs/zurl
}

// Start serves a private copy of the database on a new directory. The server
// is stopped when the test ends.
func Start(t testing.TB, database string, options ...string) *Server {
	t.Helper()
	return StartOn(t, CopyDatabase(t, database), options...)
}

// StartOn serves the database file path itself.
func StartOn(t testing.TB, path string, options ...string) *Server {
	t.Helper()
	return Launch(t, Config{Options: options, ZURL: "file://" + path})
}

// Config says how to start a server where Start is not enough.
type Config struct {
	Options  []string      // before the url; "serve" as the first asks for that command
	ZURL     string        // what .wcfs/zurl must say
	Typed    string        // the url as typed, if not ZURL
	Dir      string        // mount point; a new directory if empty
	TypedDir string        // the mount point as typed, if not Dir; "-" for none, NoArgument for an empty one
	Env      []string      // environment; nil for that of the test
	WorkDir  string        // current directory; "" for that of the test
	Stderr   string        // where its stderr goes, if not to what Log returns
	Under    []string      // program that executes the server, with arguments
	Join     bool          // keep .wcfs/zurl open, as clients do; see Leave
	Limit    time.Duration // how long it may live, if not Limit
}

// NoArgument stands for an argument that is there and empty.
const NoArgument = "\x00"

// Launch starts a server, which is stopped when the test ends.
func Launch(t testing.TB, c Config) *Server {
	t.Helper()
	s := Begin(t, c)
	if !s.WaitReady(c.Join) {
		t.Fatalf("server ended: %s\n%s", s.cmd.ProcessState, s.Log())
	}
	return s
}

// TryStart is StartOn for a database that may be refused. It returns nil then,
// with the exit code and what was said.
func TryStart(t testing.TB, path string) (s *Server, code int, stderr string) {
	t.Helper()
	s = Begin(t, Config{ZURL: "file://" + path})
	if !s.WaitReady(false) {
		return nil, s.WaitExit(), s.Log()
	}
	return s, 0, ""
}

// Begin starts a server like Launch, and does not wait until it is ready.
func Begin(t testing.TB, c Config) *Server {
	t.Helper()
	if c.Dir == "" {
		c.Dir = filepath.Join(t.TempDir(), "mnt")
		require.NoError(t, os.Mkdir(c.Dir, 0o755))
	}
	if c.Typed == "" {
		c.Typed = c.ZURL
	}
	if c.TypedDir == "" {
		c.TypedDir = c.Dir
	}
	args := slices.Clone(c.Options)
	if len(args) == 0 || args[0] != "serve" {
		args = append([]string{"-logtostderr"}, args...)
	}
	args = append(args, c.Typed)
	if c.TypedDir != "-" {
		args = append(args, strings.TrimSuffix(c.TypedDir, NoArgument))
	}
	s := &Server{T: t, Dir: c.Dir, ZURL: c.ZURL, exited: make(chan struct{})}
	s.log = filepath.Join(t.TempDir(), "log")
	elsewhere := func(option string) bool {
		return strings.Contains(option, "log_dir") || strings.Contains(option, "log-file")
	}
	s.logged = c.Stderr == "" && !slices.ContainsFunc(c.Options, elsewhere)
	s.spawn(args, c)
	limit := cmp.Or(c.Limit, Limit)
	s.timer = time.AfterFunc(limit, func() {
		t.Errorf("server did not end within %s; aborting it", limit)
		s.Abort()
	})
	t.Cleanup(s.cleanup)
	return s
}

func (s *Server) spawn(args []string, c Config) {
	log, err := os.OpenFile(cmp.Or(c.Stderr, s.log), os.O_WRONLY|os.O_CREATE, 0o644)
	require.NoError(s.T, err)
	defer log.Close()
	args = append(append(slices.Clone(c.Under), Binary), args...)
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stderr = log
	s.cmd.Env, s.cmd.Dir = c.Env, c.WorkDir
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(s.T, StartProcess(s.cmd))
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
}

// StartProcess starts cmd from a thread that lives as long as the test binary: the
// kernel sends the parent death signal when the thread ends that forked.
func StartProcess(cmd *exec.Cmd) error {
	done := make(chan error)
	forks <- func() { done <- cmd.Start() }
	return <-done
}

// forks is what the thread that forks is asked to do.
var forks = func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
}()

// WaitReady waits until the mount answers, or the server ended. With join it
// keeps .wcfs/zurl open.
func (s *Server) WaitReady(join bool) (ready bool) {
	s.T.Helper()
	Until(s.T, "the mount answers", func() bool {
		if !s.Running() {
			return true
		}
		f, err := os.Open(s.Path(".wcfs/zurl"))
		if err != nil {
			return false
		}
		content, err := io.ReadAll(f)
		require.NoError(s.T, err)
		require.Equal(s.T, s.ZURL, string(content))
		if s.joined = f; !join {
			f.Close()
			s.joined = nil
		}
		ready = true
		return true
	})
	if !ready {
		return false
	}
	var st unix.Stat_t
	require.NoError(s.T, unix.Stat(s.Dir, &st))
	s.dev = st.Dev
	if s.logged {
		// Until then the server asks its mount questions as well.
		Until(s.T, "the server is ready", func() bool { return !s.Running() || strings.Contains(s.Printed(), "ready: ") })
		s.asked = true
	}
	return true
}

// Leave closes the .wcfs/zurl that Join keeps open.
func (s *Server) Leave() { require.NoError(s.T, s.joined.Close()) }

// Pid returns the process id of the server.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Running reports whether the server has not ended.
func (s *Server) Running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// Path returns a path in the mount.
func (s *Server) Path(elem ...string) string {
	return filepath.Join(append([]string{s.Dir}, elem...)...)
}

// Log returns what the server printed so far. Lines about requests that have
// been answered are part of that: lines are in order, so a server that can be
// asked is asked for a last one.
func (s *Server) Log() string {
	if !s.asked || !s.Running() {
		return s.Printed()
	}
	var st unix.Stat_t
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline) && s.Running(); {
		mark := fmt.Sprintf("fffe%012x", s.marks.Add(1)) // no object, which is worth a line
		if err := unix.Stat(s.Path("head/bigfile", mark), &st); err != unix.EINVAL && err != unix.EINTR {
			break
		}
		for range 50 {
			if text := s.Printed(); strings.Contains(text, mark) {
				return text
			}
			time.Sleep(time.Millisecond)
		}
	}
	return s.Printed()
}

// Printed returns what arrived on stderr so far.
func (s *Server) Printed() string {
	text, _ := os.ReadFile(s.log)
	return string(text)
}

// Signal sends sig to the server.
func (s *Server) Signal(sig os.Signal) {
	s.T.Helper()
	require.NoError(s.T, s.cmd.Process.Signal(sig))
}

// WaitExit waits until the server ended and returns its exit code.
func (s *Server) WaitExit() int {
	s.T.Helper()
	select {
	case <-s.exited:
	case <-time.After(Patience):
		s.T.Errorf("server does not end; aborting it\n%s", s.Printed())
		s.Abort()
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	return s.cmd.ProcessState.ExitCode()
}

// Stop ends the server as Ctrl-C does, and requires that nothing is left.
func (s *Server) Stop() {
	s.T.Helper()
	s.Signal(os.Interrupt)
	require.Equal(s.T, 0, s.WaitExit(), "%s; log:\n%s", s.cmd.ProcessState, s.Log())
	require.Empty(s.T, Mounts(s.Dir))
}

// cleanup ends a server that still runs and checks what it leaves.
func (s *Server) cleanup() {
	defer s.timer.Stop()
	if s.joined != nil {
		s.joined.Close()
	}
	if s.Running() {
		_ = s.cmd.Process.Signal(os.Interrupt)
		s.WaitExit()
	}
	if len(Mounts(s.Dir)) > 0 {
		if !s.T.Failed() {
			s.T.Errorf("mount left behind on %s", s.Dir)
		}
		_ = unix.Unmount(s.Dir, unix.MNT_DETACH)
	}
	if s.T.Failed() {
		s.T.Logf("log of the server:\n%s", s.Log())
	}
	if i := strings.Index(s.Log(), "panic"); i >= 0 {
		s.T.Errorf("the server panicked:\n%s", s.Log()[i:])
	}
}

// RSS returns how much memory the server has, in bytes.
func (s *Server) RSS() int64 {
	s.T.Helper()
	text := Content(s.T, fmt.Sprintf("/proc/%d/status", s.Pid()))
	kb, err := strconv.ParseInt(regexp.MustCompile(`VmRSS:\s*(\d+) kB`).FindStringSubmatch(text)[1], 10, 64)
	require.NoError(s.T, err)
	return kb << 10
}
