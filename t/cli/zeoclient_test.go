package cli

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// zeoClient is a Python client of a server.
type zeoClient struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Scanner
}

// application starts one, for as long as the test.
func application(z *harness.ZEO) *zeoClient {
	z.T.Helper()
	cmd := exec.Command(z.Python, harness.Repo("t/testdata/zeoclient.py"), z.Path("zeo"))
	var words bytes.Buffer
	cmd.Stderr = &words
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	require.NoError(z.T, err)
	out, err := cmd.StdoutPipe()
	require.NoError(z.T, err)
	require.NoError(z.T, harness.StartProcess(cmd))
	z.T.Cleanup(func() {
		in.Close()
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() }) // it may wait for a server that is gone
		_ = cmd.Wait()
		timer.Stop()
		if z.T.Failed() {
			z.T.Logf("application: %s", &words)
		}
	})
	a := &zeoClient{z.T, in, bufio.NewScanner(out)}
	require.Equal(z.T, "open", a.answer())
	return a
}

func (a *zeoClient) answer() string {
	if !a.out.Scan() {
		a.t.Error("the application has ended")
	}
	return a.out.Text()
}

// do has it do something and returns its answer. It may be called from any goroutine.
func (a *zeoClient) do(command string, args ...string) string {
	for _, arg := range args {
		command += " '" + arg + "'"
	}
	if _, err := io.WriteString(a.in, command+"\n"); err != nil {
		a.t.Error(err)
	}
	return a.answer()
}

// array returns the data of an array as the application reads it.
func (a *zeoClient) array(name string) []byte {
	a.t.Helper()
	out := filepath.Join(a.t.TempDir(), "out")
	require.Equal(a.t, "done", a.do("read", name, out))
	data, err := os.ReadFile(out)
	require.NoError(a.t, err)
	return data
}
