package pythontest

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Venv is a Python with packages. Paths are from the root of the repository.
type Venv struct {
	Dir          string   // made by make, which has a target of that name
	Script       string   // makes it as well: SCRIPT DIR REQUIREMENTS
	Requirements string   // the packages
	Modules      []string // to import before anything is run
}

// Hosts are the Pythons that are running. They are made and started when needed. The zero
// value has none.
type Hosts struct {
	mu    sync.Mutex
	byDir map[string]*Host
}

// Host is a Python that starts servers and writers.
type Host struct {
	mu  sync.Mutex
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Repo returns a path in the repository.
func Repo(t testing.TB, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, path)
		}
		require.NotEqual(t, filepath.Dir(dir), dir, "there is no go.mod above the tests")
		dir = filepath.Dir(dir)
	}
}

// Get returns the Python of a venv.
func (all *Hosts) Get(t testing.TB, venv Venv) *Host {
	t.Helper()
	all.mu.Lock()
	defer all.mu.Unlock()
	if h := all.byDir[venv.Dir]; h != nil {
		return h
	}
	dir := venv.make(t)
	// Its stderr is that of the test: there is no goroutine for it.
	args := append([]string{Repo(t, "internal/zodb/storage/pythontest/testdata/host.py")}, venv.Modules...)
	h := &Host{cmd: exec.Command(filepath.Join(dir, "bin/python"), args...)}
	h.cmd.Env = append(os.Environ(), "PYTHONPYCACHEPREFIX="+filepath.Join(dir, "pycache"))
	h.cmd.Stderr = os.Stderr
	var err error
	h.in, err = h.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := h.cmd.StdoutPipe()
	require.NoError(t, err)
	h.out = bufio.NewReader(out)
	require.NoError(t, h.cmd.Start())
	if all.byDir == nil {
		all.byDir = make(map[string]*Host)
	}
	all.byDir[venv.Dir] = h
	return h
}

// make makes what make test has made already, and returns the directory of it.
func (v Venv) make(t testing.TB) (dir string) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3, which real ZODB needs; on Debian: sudo apt-get install python3-venv")
	}
	dir = Repo(t, v.Dir)
	out, err := exec.Command(Repo(t, v.Script), dir, Repo(t, v.Requirements)).CombinedOutput()
	require.NoError(t, err, "there is no Python as %s wants it in %s, and none can be made; make %s does it where PyPI can be reached:\n%s",
		v.Requirements, dir, v.Dir, out)
	return dir
}

// End ends all, with all that they have started.
func (all *Hosts) End() {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, h := range all.byDir {
		_ = h.in.Close()
		_ = h.cmd.Wait()
	}
	all.byDir = nil
}

// Run starts what the host is asked for; see host.py.
func (h *Host) Run(t testing.TB, what map[string]string) *Process {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	require.NoError(t, json.NewEncoder(h.in).Encode(what))
	line, err := h.out.ReadBytes('\n')
	require.NoError(t, err)
	p := &Process{t: t}
	require.NoError(t, json.Unmarshal(line, &p.PID))
	return p
}

// Process is one that a host has started, which waits for it.
type Process struct {
	PID int
	t   testing.TB
}

// Signal sends a signal to the process.
func (p *Process) Signal(sig syscall.Signal) { require.NoError(p.t, syscall.Kill(p.PID, sig)) }

// Kill ends the process and waits until it is gone.
func (p *Process) Kill() {
	_ = syscall.Kill(p.PID, syscall.SIGKILL)
	p.Wait()
}

// Wait waits until the process is gone.
func (p *Process) Wait() {
	require.Eventually(p.t, func() bool { return errors.Is(syscall.Kill(p.PID, 0), syscall.ESRCH) },
		time.Minute, time.Millisecond, "the process does not end")
}
