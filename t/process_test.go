package t

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Helper is a running helper process. It is told things by lines on its
// standard input and answers by lines on its standard output.
type Helper struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
}

// StartHelper starts a helper, which is killed when the test ends.
func StartHelper(t testing.TB, name string, args ...string) *Helper {
	t.Helper()
	return startHelper(t, exec.Command(os.Args[0], args...), name)
}

// StartHelperAs is StartHelper as another user.
func StartHelperAs(t testing.TB, uid uint32, name string, args ...string) *Helper {
	t.Helper()
	cmd := exec.Command(helperCopy(t), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.Dir = "/"
	return startHelper(t, cmd, name)
}

// helperCopy returns a copy of this binary. That itself is where others may not
// look.
func helperCopy(t testing.TB) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "helper")
	copyFile(t, os.Args[0], exe)
	require.NoError(t, os.Chmod(exe, 0o755))
	letPass(t, exe)
	return exe
}

func startHelper(t testing.TB, cmd *exec.Cmd, name string) *Helper {
	t.Helper()
	h := &Helper{t: t, cmd: cmd, lines: make(chan string, 1)}
	h.cmd.Env = append(os.Environ(), helperEnv+"="+name)
	h.cmd.Stderr = os.Stderr
	if h.cmd.SysProcAttr == nil {
		h.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	h.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	var err error
	h.in, err = h.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := h.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, start(h.cmd))
	go func() {
		defer close(h.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			h.lines <- scanner.Text()
		}
	}()
	t.Cleanup(h.Kill)
	return h
}

// Line returns the next line the helper prints, or "" if it ended.
func (h *Helper) Line() string {
	h.t.Helper()
	select {
	case line := <-h.lines:
		return line
	case <-time.After(patience):
		h.t.Fatalf("the helper says nothing for %s", patience)
		return ""
	}
}

// Tell sends a line to the helper.
func (h *Helper) Tell(line string) {
	h.t.Helper()
	_, err := fmt.Fprintln(h.in, line)
	require.NoError(h.t, err)
}

// Ask sends a line and returns the answer.
func (h *Helper) Ask(line string) string {
	h.t.Helper()
	h.Tell(line)
	return h.Line()
}

// Kill ends the helper as by kill -9, and waits until it is gone.
func (h *Helper) Kill() {
	if h.cmd.ProcessState != nil {
		return
	}
	_ = h.cmd.Process.Kill()
	go func() { // whatever it still says is not wanted
		for range h.lines {
		}
	}()
	_ = h.cmd.Wait()
}

// Wait lets the helper end by itself and returns its exit code.
func (h *Helper) Wait() int {
	h.in.Close()
	for range h.lines {
	}
	_ = h.cmd.Wait()
	return h.cmd.ProcessState.ExitCode()
}
