package harness

import (
	"bytes"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Run runs the binary as a user would and returns what was seen.
func Run(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runWCFS(t, &syscall.SysProcAttr{}, args)
}

// RunAs is wcfs as another user.
func RunAs(t testing.TB, uid uint32, args ...string) (code int, stderr string) {
	t.Helper()
	code, _, stderr = runWCFS(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}, args)
	return code, stderr
}

func runWCFS(t testing.TB, attr *syscall.SysProcAttr, args []string) (code int, stdout, stderr string) {
	t.Helper()
	var out, words bytes.Buffer
	cmd := exec.Command(Binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &words
	cmd.SysProcAttr = attr
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	require.NoError(t, StartProcess(cmd))
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String(), words.String()
}
