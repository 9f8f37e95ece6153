package t

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// limit is how long one server may live. A test that needs longer hangs.
const limit = 2 * time.Minute

// binary is the wcfs under test, built by TestMain.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	if name := os.Getenv(helperEnv); name != "" {
		os.Exit(runHelper(name, flag.Args()))
	}
	os.Exit(testMain(m))
}

// hearsHangup is what runs a program so that SIGHUP ends it, also if that was ignored
// when the tests were started, as by nohup(1). All others are left with that: the
// terminal that goes away tells them, too.
var hearsHangup = []string{"env", "--default-signal=HUP"}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wcfs-t-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// All that tests make is below dir, so what they leave can be found.
	os.Setenv("TMPDIR", dir)
	binary = filepath.Join(dir, "wcfs") // the process must be called wcfs
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "../wcfs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build wcfs: %s\n%s", err, out)
		return 1
	}
	code := m.Run()
	if left := wcfsMounts(dir); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "mounts left behind: %v\n", left)
		return 1
	}
	if left := serversLeft(); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "servers left behind: %v\n", left)
		return 1
	}
	return code
}

// serversLeft returns the processes that run the wcfs under test.
func serversLeft() (left []string) {
	exes, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range exes {
		if path, err := os.Readlink(exe); err == nil && path == binary {
			left = append(left, filepath.Dir(exe))
		}
	}
	return left
}

// wcfsMounts returns the mount points of wcfs below dir.
func wcfsMounts(dir string) []string {
	entries, err := mountinfo.GetMounts(func(e *mountinfo.Info) (skip, stop bool) {
		return e.FSType != "fuse.wcfs" || !strings.HasPrefix(e.Mountpoint, dir), false
	})
	if err != nil {
		return []string{err.Error()}
	}
	var points []string
	for _, e := range entries {
		points = append(points, e.Mountpoint)
	}
	return points
}

// Server is a wcfs in a child process.
type Server struct {
	t      testing.TB
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
	Options  []string // before the url; "serve" as the first asks for that command
	ZURL     string   // what .wcfs/zurl must say
	Typed    string   // the url as typed, if not ZURL
	Dir      string   // mount point; a new directory if empty
	TypedDir string   // the mount point as typed, if not Dir; "-" for none, noArgument for an empty one
	Env      []string // environment; nil for that of the test
	WorkDir  string   // current directory; "" for that of the test
	Stderr   string   // where its stderr goes, if not to what Log returns
	Under    []string // program that executes the server, with arguments
	Join     bool     // keep .wcfs/zurl open, as clients do; see Leave
}

// noArgument stands for an argument that is there and empty.
const noArgument = "\x00"

// Launch starts a server, which is stopped when the test ends.
func Launch(t testing.TB, c Config) *Server {
	t.Helper()
	s := launch(t, c)
	if !s.waitReady(c.Join) {
		t.Fatalf("server ended: %s\n%s", s.cmd.ProcessState, s.Log())
	}
	return s
}

// TryStart is StartOn for a database that may be refused. It returns nil then,
// with the exit code and what was said.
func TryStart(t testing.TB, path string) (s *Server, code int, stderr string) {
	t.Helper()
	s = launch(t, Config{ZURL: "file://" + path})
	if !s.waitReady(false) {
		return nil, s.WaitExit(), s.Log()
	}
	return s, 0, ""
}

func launch(t testing.TB, c Config) *Server {
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
		args = append(args, strings.TrimSuffix(c.TypedDir, noArgument))
	}
	s := &Server{t: t, Dir: c.Dir, ZURL: c.ZURL, exited: make(chan struct{})}
	s.log = filepath.Join(t.TempDir(), "log")
	elsewhere := func(option string) bool {
		return strings.Contains(option, "log_dir") || strings.Contains(option, "log-file")
	}
	s.logged = c.Stderr == "" && !slices.ContainsFunc(c.Options, elsewhere)
	s.spawn(args, c)
	s.timer = time.AfterFunc(limit, func() {
		t.Errorf("server did not end within %s; aborting it", limit)
		s.abort()
	})
	t.Cleanup(s.cleanup)
	return s
}

func (s *Server) spawn(args []string, c Config) {
	log, err := os.OpenFile(cmp.Or(c.Stderr, s.log), os.O_WRONLY|os.O_CREATE, 0o644)
	require.NoError(s.t, err)
	defer log.Close()
	args = append(append(slices.Clone(c.Under), binary), args...)
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stderr = log
	s.cmd.Env, s.cmd.Dir = c.Env, c.WorkDir
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(s.t, start(s.cmd))
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
}

// start starts cmd from a thread that lives as long as the test binary: the
// kernel sends the parent death signal when the thread ends that forked.
func start(cmd *exec.Cmd) error {
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

// waitReady waits until the mount answers, or the server ended. With join it
// keeps .wcfs/zurl open.
func (s *Server) waitReady(join bool) (ready bool) {
	s.t.Helper()
	until(s.t, "the mount answers", func() bool {
		if !s.Running() {
			return true
		}
		f, err := os.Open(s.Path(".wcfs/zurl"))
		if err != nil {
			return false
		}
		content, err := io.ReadAll(f)
		require.NoError(s.t, err)
		require.Equal(s.t, s.ZURL, string(content))
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
	require.NoError(s.t, unix.Stat(s.Dir, &st))
	s.dev = st.Dev
	if s.logged {
		// Until then the server asks its mount questions as well.
		until(s.t, "the server is ready", func() bool { return !s.Running() || strings.Contains(s.printed(), "ready: ") })
		s.asked = true
	}
	return true
}

// Leave closes the .wcfs/zurl that Join keeps open.
func (s *Server) Leave() { require.NoError(s.t, s.joined.Close()) }

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

// Log returns what the server printed so far. What it logged about a request
// that has been answered is part of that: lines are in order, so a server that
// can be asked is asked for a last one.
func (s *Server) Log() string {
	if !s.asked || !s.Running() {
		return s.printed()
	}
	var st unix.Stat_t
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline) && s.Running(); {
		mark := fmt.Sprintf("fffe%012x", s.marks.Add(1)) // no object, which is worth a line
		if err := unix.Stat(s.Path("head/bigfile", mark), &st); err != unix.EINVAL && err != unix.EINTR {
			break
		}
		for range 50 {
			if text := s.printed(); strings.Contains(text, mark) {
				return text
			}
			time.Sleep(time.Millisecond)
		}
	}
	return s.printed()
}

// printed returns what arrived on stderr so far.
func (s *Server) printed() string {
	text, _ := os.ReadFile(s.log)
	return string(text)
}

// Signal sends sig to the server.
func (s *Server) Signal(sig os.Signal) {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Signal(sig))
}

// WaitExit waits until the server ended and returns its exit code.
func (s *Server) WaitExit() int {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.t.Errorf("server does not end; aborting it\n%s", s.printed())
		s.abort()
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	return s.cmd.ProcessState.ExitCode()
}

// Stop ends the server as Ctrl-C does, and requires that nothing is left.
func (s *Server) Stop() {
	s.t.Helper()
	s.Signal(os.Interrupt)
	require.Equal(s.t, 0, s.WaitExit(), "exit code; log:\n%s", s.Log())
	require.Empty(s.t, wcfsMounts(s.Dir))
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
	if len(wcfsMounts(s.Dir)) > 0 {
		if !s.t.Failed() {
			s.t.Errorf("mount left behind on %s", s.Dir)
		}
		_ = unix.Unmount(s.Dir, unix.MNT_DETACH)
	}
	if s.t.Failed() {
		s.t.Logf("log of the server:\n%s", s.Log())
	}
	if i := strings.Index(s.Log(), "panic"); i >= 0 {
		s.t.Errorf("the server panicked:\n%s", s.Log()[i:])
	}
}

// abort makes the kernel give up the FUSE connection: whoever waits for the
// server is freed, also from waits that SIGKILL cannot end.
func (s *Server) abort() {
	dir, err := os.MkdirTemp("", "wcfs-fusectl-")
	if err != nil {
		return
	}
	defer os.Remove(dir)
	if err := unix.Mount("none", dir, "fusectl", 0, ""); err != nil {
		return
	}
	defer unix.Unmount(dir, 0)
	path := filepath.Join(dir, fmt.Sprint(unix.Minor(s.dev)), "abort")
	_ = os.WriteFile(path, []byte("1"), 0)
}
