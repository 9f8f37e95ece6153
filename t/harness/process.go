package harness

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

// HelperEnv names the helper that this binary is started as.
const HelperEnv = "WCFS_T_HELPER"

// Helpers are programs, by name, that run in processes of their own: as the test binary,
// started again. Each gets the arguments that StartHelper was called with.
type Helpers map[string]func(args []string) error

func runHelper(name string, helpers Helpers, args []string) int {
	helper := helpers[name]
	if helper == nil {
		helper = common()[name]
	}
	if helper == nil {
		fmt.Fprintf(os.Stderr, "no helper %q\n", name)
		return 2
	}
	if err := helper(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Helper is a running helper process. It is told things by lines on its
// standard input and answers by lines on its standard output.
type Helper struct {
	T     testing.TB
	Cmd   *exec.Cmd
	In    io.WriteCloser
	Lines chan string
}

// StartHelper starts a helper, which is killed when the test ends.
func StartHelper(t testing.TB, name string, args ...string) *Helper {
	t.Helper()
	return startHelper(t, exec.Command(os.Args[0], args...), name)
}

// StartProgram starts another program as a helper.
func StartProgram(t testing.TB, program string, args ...string) *Helper {
	t.Helper()
	return startHelper(t, exec.Command(program, args...), "")
}

// StartHelperAs is StartHelper as another user.
func StartHelperAs(t testing.TB, uid uint32, name string, args ...string) *Helper {
	t.Helper()
	cmd := exec.Command(HelperCopy(t), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.Dir = "/"
	return startHelper(t, cmd, name)
}

// HelperCopy returns a copy of this binary. The binary itself is where others
// may not look.
func HelperCopy(t testing.TB) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "helper")
	CopyFile(t, os.Args[0], exe)
	require.NoError(t, os.Chmod(exe, 0o755))
	LetPass(t, exe)
	return exe
}

func startHelper(t testing.TB, cmd *exec.Cmd, name string) *Helper {
	t.Helper()
	h := &Helper{T: t, Cmd: cmd, Lines: make(chan string, 1)}
	h.Cmd.Env = append(os.Environ(), HelperEnv+"="+name)
	h.Cmd.Stderr = os.Stderr
	if h.Cmd.SysProcAttr == nil {
		h.Cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	h.Cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	var err error
	h.In, err = h.Cmd.StdinPipe()
	require.NoError(t, err)
	out, err := h.Cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, StartProcess(h.Cmd))
	go func() {
		defer close(h.Lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			h.Lines <- scanner.Text()
		}
	}()
	t.Cleanup(h.Kill)
	return h
}

// Line returns the next line the helper prints, or "" if it ended.
func (h *Helper) Line() string {
	h.T.Helper()
	select {
	case line := <-h.Lines:
		return line
	case <-time.After(Patience):
		h.T.Fatalf("the helper says nothing for %s", Patience)
		return ""
	}
}

// Tell sends a line to the helper.
func (h *Helper) Tell(line string) {
	h.T.Helper()
	_, err := fmt.Fprintln(h.In, line)
	require.NoError(h.T, err)
}

// Ask sends a line and returns the answer.
func (h *Helper) Ask(line string) string {
	h.T.Helper()
	h.Tell(line)
	return h.Line()
}

// Kill ends the helper as by kill -9, and waits until it is gone.
func (h *Helper) Kill() {
	if h.Cmd.ProcessState != nil {
		return
	}
	_ = h.Cmd.Process.Kill()
	go func() { // whatever it still says is not wanted
		for range h.Lines {
		}
	}()
	_ = h.Cmd.Wait()
}

// Wait lets the helper end by itself and returns its exit code.
func (h *Helper) Wait() int {
	h.In.Close()
	for range h.Lines {
	}
	_ = h.Cmd.Wait()
	return h.Cmd.ProcessState.ExitCode()
}

// RunHelper runs a helper and returns what it printed.
func RunHelper(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), HelperEnv+"="+name)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err, "helper %s %v", name, args)
	return string(out)
}
