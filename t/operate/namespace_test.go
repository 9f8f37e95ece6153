package operate

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// namespace is a mount namespace with a /dev/shm of its own, and a /dev/fuse that
// every user may open, as it usually is. Several users can act in it.
type namespace struct {
	t   testing.TB
	pid int // of a process that keeps it
}

// namespaceSetup lets go of mounts of other tests first: they would be kept.
const namespaceSetup = `
grep " - fuse.wcfs " /proc/self/mountinfo | cut -d " " -f 5 | while read -r m; do umount -l "$(printf %b "$m")" || :; done
mount -t tmpfs -o mode=1777 none /dev/shm
mkdir /dev/shm/.dev && mount -t tmpfs -o mode=755 none /dev/shm/.dev
mknod -m 666 /dev/shm/.dev/fuse c 10 229
mount --bind /dev/shm/.dev/fuse /dev/fuse
echo ready
exec cat`

// newNamespace makes one. It goes when the test ends, together with the servers
// in it. Requires: root.
func newNamespace(t testing.TB) *namespace {
	t.Helper()
	cmd := exec.Command("unshare", "-m", "--propagation", "slave", "sh", "-euc", namespaceSetup)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, harness.StartProcess(cmd))
	ns := &namespace{t, cmd.Process.Pid}
	t.Cleanup(func() {
		for _, uid := range []int{0, stranger, bin} {
			_, list, _ := ns.run(uid, "sh", "-c", `grep " fuse.wcfs " /proc/self/mountinfo | grep " /dev/shm/" | cut -d " " -f 5`)
			for dir := range bytes.Lines([]byte(list)) {
				_, _, _ = ns.wcfs(uid, "stop", "--timeout", "5s", string(bytes.TrimSpace(dir)))
			}
		}
		in.Close()
		_ = cmd.Wait()
	})
	line, _ := bufio.NewReader(out).ReadString('\n')
	require.Equal(t, "ready\n", line, "a mount namespace")
	return ns
}

// run runs a program in the namespace as a user.
func (ns *namespace) run(uid int, args ...string) (code int, stdout, stderr string) {
	ns.t.Helper()
	user := fmt.Sprint(uid)
	cmd := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(ns.pid), "-m", "--",
		"setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--"}, args...)...)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	cmd.WaitDelay = 10 * time.Second // a server that was left behind has them open, too
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(ns.t, harness.StartProcess(cmd))
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String(), words.String()
}

func (ns *namespace) wcfs(uid int, args ...string) (code int, stdout, stderr string) {
	ns.t.Helper()
	return ns.run(uid, append([]string{harness.Binary}, args...)...)
}
