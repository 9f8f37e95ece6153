package control

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/serve/proc"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// relayed returns what is handed on of a shell script, and how it ended.
func relayed(t *testing.T, script string) (words string, err error) {
	t.Helper()
	r, w, errPipe := os.Pipe()
	require.NoError(t, errPipe)
	cmd := exec.Command("sh", "-c", script)
	cmd.Stderr = w
	require.NoError(t, cmd.Start())
	w.Close()
	var out bytes.Buffer
	relay := newRelay(&out)
	relay.copy(r)
	_ = cmd.Wait()
	err = relay.outcome(cmd.ProcessState) // says something, too
	return out.String(), err
}

// TestRelayHandsOnWhatAServerSays: warnings as they are, its last words as the
// error, and nothing of what only informs.
func TestRelayHandsOnWhatAServerSays(t *testing.T) {
	t.Parallel()
	words, err := relayed(t, `exec >&2
		echo 'I1120 11:35:01.618407    3910 server.go:208] start'
		echo 'W1120 11:35:01.618407    3910 x.go:1] careful'
		echo 'I think'
		echo 'wcfs: first'; echo 'wcfs: it is so; do this'; exit 6`)
	require.Equal(t, "W1120 11:35:01.618407    3910 x.go:1] careful\nI think\nwcfs: first\n", words)
	require.Equal(t, &fault.Error{Kind: fault.Unreachable, Msg: "it is so; do this"}, err)

	words, err = relayed(t, "exit 7")
	require.Empty(t, words)
	require.Equal(t, 7, fault.Exit(err))
	require.ErrorContains(t, err, "code 7")

	_, err = relayed(t, "exit 0")
	require.Equal(t, 1, fault.Exit(err), "a server that ends instead of serving has failed")

	words, err = relayed(t, "echo 'wcfs: x' >&2; kill -9 $$")
	require.Equal(t, "wcfs: x\n", words)
	require.Equal(t, 1, fault.Exit(err))
	require.ErrorContains(t, err, "killed")
}

// TestRelayTakesAnyLine: one that never ends must not keep the server waiting.
func TestRelayTakesAnyLine(t *testing.T) {
	t.Parallel()
	_, err := relayed(t, "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2; exit 5")
	require.Equal(t, 5, fault.Exit(err))
}

func TestStartTimeIsWhenTheProcessStarted(t *testing.T) {
	t.Parallel()
	before := time.Now()
	// A name with spaces and parentheses, as the kernel puts it between others.
	exe := t.TempDir() + "/a) b ("
	content, err := os.ReadFile("/bin/sleep")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(exe, content, 0o755))
	cmd := exec.Command(exe, "1000")
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	require.WithinDuration(t, before, proc.StartTime(cmd.Process.Pid), 2*time.Second)
	require.Equal(t, os.Getpid(), proc.Parent(cmd.Process.Pid))
	require.Contains(t, ancestors(), os.Getppid())
	require.True(t, proc.StartTime(0).IsZero())
}
