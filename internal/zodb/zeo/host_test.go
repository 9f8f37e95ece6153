package zeo

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

// hosts are the Pythons with ZEO, by its version. They are made and started when needed.
type hosts struct {
	mu   sync.Mutex
	byID map[string]*host
}

var running = hosts{byID: make(map[string]*host)}

// host is a Python that starts servers and writers.
type host struct {
	mu  sync.Mutex
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// python returns the Python with a version of ZEO.
func python(t testing.TB, version string) *host {
	running.mu.Lock()
	defer running.mu.Unlock()
	if h := running.byID[version]; h != nil {
		return h
	}
	dir := venv(t, version)
	// Its stderr is that of the test: there is no goroutine for it.
	h := &host{cmd: exec.Command(filepath.Join(dir, "bin/python"), "testdata/host.py")}
	h.cmd.Env = append(os.Environ(), "PYTHONPYCACHEPREFIX="+filepath.Join(dir, "pycache"))
	h.cmd.Stderr = os.Stderr
	var err error
	h.in, err = h.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := h.cmd.StdoutPipe()
	require.NoError(t, err)
	h.out = bufio.NewReader(out)
	require.NoError(t, h.cmd.Start())
	running.byID[version] = h
	return h
}

// venv makes what make test has made already: the directory of a Python with ZEO.
func venv(t testing.TB, version string) string {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3, which the real ZEO server needs; on Debian: sudo apt-get install python3-venv")
	}
	dir, err := filepath.Abs("../../../bin/venv-zeo" + version)
	require.NoError(t, err)
	out, err := exec.Command("testdata/venv.sh", dir, "testdata/requirements-"+version+".txt").CombinedOutput()
	require.NoError(t, err, "there is no Python with ZEO %s in %s, and none can be made; make bin/venv-zeo%s does it where PyPI can be reached:\n%s",
		version, dir, version, out)
	return dir
}

// end ends all, with all that they have started.
func (all *hosts) end() {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, h := range all.byID {
		h.in.Close()
		_ = h.cmd.Wait()
	}
}

// run starts what the host is asked for.
func (h *host) run(t testing.TB, what map[string]string) *process {
	h.mu.Lock()
	defer h.mu.Unlock()
	require.NoError(t, json.NewEncoder(h.in).Encode(what))
	line, err := h.out.ReadBytes('\n')
	require.NoError(t, err)
	var pid int
	require.NoError(t, json.Unmarshal(line, &pid))
	return &process{t, pid}
}

// process is one that a host has started, which waits for it.
type process struct {
	t   testing.TB
	pid int
}

func (p *process) signal(sig syscall.Signal) { require.NoError(p.t, syscall.Kill(p.pid, sig)) }

// kill ends the process and waits until it is gone.
func (p *process) kill() {
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	p.wait()
}

func (p *process) wait() {
	require.Eventually(p.t, func() bool { return errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) },
		time.Minute, time.Millisecond, "the process does not end")
}
