package t

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// CopyDatabase copies t/testdata/<name>.fs, or the file that name is a path of,
// with its index, and returns the path of the copy.
func CopyDatabase(t testing.TB, name string) string {
	t.Helper()
	source := name
	if !strings.Contains(name, "/") {
		source = filepath.Join("testdata", name+".fs")
	}
	target := filepath.Join(t.TempDir(), "data.fs")
	copyFile(t, source, target)
	if _, err := os.Stat(source + ".index"); err == nil {
		copyFile(t, source+".index", target+".index")
	}
	return target
}

func copyFile(t testing.TB, source, target string) {
	t.Helper()
	in, err := os.Open(source)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.Create(target)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, errors.Join(err, out.Close()))
}

// patience is how long a state is waited for: much longer than it can take on a
// machine that has other things to do.
const patience = time.Minute

// until polls until ok returns true. It is for states of other processes that
// nothing tells about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// read returns n bytes from offset off of the file path.
func read(t testing.TB, path string, off int64, n int) []byte {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	data := make([]byte, n)
	got, err := f.ReadAt(data, off)
	if err != io.EOF {
		require.NoError(t, err)
	}
	return data[:got]
}

// wcfs runs the binary as a user would and returns what was seen.
func wcfs(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runWCFS(t, &syscall.SysProcAttr{}, args)
}

// wcfsAs is wcfs as another user.
func wcfsAs(t testing.TB, uid uint32, args ...string) (code int, stderr string) {
	t.Helper()
	code, _, stderr = runWCFS(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}, args)
	return code, stderr
}

func runWCFS(t testing.TB, attr *syscall.SysProcAttr, args []string) (code int, stdout, stderr string) {
	t.Helper()
	var out, words bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &words
	cmd.SysProcAttr = attr
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	require.NoError(t, start(cmd))
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String(), words.String()
}

// openFile is open(2). A lookup that loads something may be interrupted by a
// signal, and the Go runtime sends signals to its own threads to preempt them.
func openFile(path string, flags int) (fd int, err error) {
	err = uninterrupted(func() error {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
		return err
	})
	return fd, err
}

func uninterrupted(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
