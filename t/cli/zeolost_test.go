package cli

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// loss is how a server is lost while it takes a transaction.
type loss struct {
	name    string
	request string // that is cut off when it comes
	reply   string // whose reply is cut off
	kill    bool   // and the server killed
	done    bool   // the transaction is there
}

// TestLostServersLeaveAllOrNothing, and it is told which.
func TestLostServersLeaveAllOrNothing(t *testing.T) {
	t.Parallel()
	raw, data := rawFile(t, 5<<20)
	for _, version := range []string{"5", "6"} {
		for _, c := range []loss{
			{"killed while it is sent", "storea", "", true, false},
			{"lost while it is sent", "storea", "", false, false},
			{"killed before the vote", "vote", "", true, false},
			{"lost before the vote", "vote", "", false, false},
			{"killed between vote and finish", "tpc_finish", "", true, false},
			{"lost between vote and finish", "tpc_finish", "", false, false},
			{"killed after finish", "", "tpc_finish", true, true},
			{"lost after finish", "", "tpc_finish", false, true},
		} {
			t.Run(version+" "+c.name, func(t *testing.T) { appendAndLose(t, version, c, raw, data) })
		}
	}
}

// appendAndLose appends the data of the file raw over a connection that breaks.
func appendAndLose(t *testing.T, version string, c loss, raw string, data []byte) {
	t.Parallel()
	z := harness.StartZEO(t, version, "", "")
	zurl := z.URL("")
	must(t, "import", raw, zurl, "a", "--raw")
	cut, restarted := breaking(z, c.kill)
	asked := make(chan struct{})
	request := once(c.request, cut)
	if c.reply != "" {
		request = once(c.reply, func() bool { close(asked); return true })
	}
	reply := once(".reply", cut)
	r := newRelay(z, request, func(method string) bool {
		select {
		case <-asked:
			return reply(method)
		default:
			return true
		}
	})
	code, stdout, stderr := harness.Run(t, "import", raw, z.URL(r.socket), "a", "--raw", "--append", "--json")
	<-restarted
	got := []byte(must(t, "cat", zurl, "a"))
	if !c.done {
		require.Equal(t, 6, code, stdout+stderr)
		require.Contains(t, stderr, "wcfs: append: ")
		require.Contains(t, stderr, "the connection to the server was lost: ")
		require.Contains(t, stderr, "; nothing was written; ")
		require.True(t, bytes.Equal(data, got))
		must(t, "import", raw, zurl, "a", "--raw", "--append") // nobody holds a lock
		return
	}
	require.Zero(t, code, stderr)
	var done imported
	require.NoError(t, json.Unmarshal([]byte(stdout), &done))
	require.Contains(t, must(t, "log", zurl), done.Tid+"  ")
	require.True(t, bytes.Equal(append(data[:len(data):len(data)], data...), got))
}

// breaking returns what breaks a connection and, with kill, starts the server anew;
// restarted is closed when that is over.
func breaking(z *harness.ZEO, kill bool) (cut func() bool, restarted chan struct{}) {
	restarted = make(chan struct{})
	if !kill {
		close(restarted)
		return func() bool { return false }, restarted
	}
	return func() bool {
		defer close(restarted)
		z.Kill()
		z.Start()
		return false
	}, restarted
}

// running is a wcfs that is under way.
type running struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr bytes.Buffer
}

// begin starts wcfs and does not wait for its end.
func begin(t testing.TB, args ...string) *running {
	t.Helper()
	r := &running{cmd: exec.Command(harness.Binary, args...)}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, harness.StartProcess(r.cmd))
	return r
}

// end waits for its end and returns its exit code.
func (r *running) end() int {
	timer := time.AfterFunc(2*harness.Patience, func() { _ = r.cmd.Process.Kill() })
	defer timer.Stop()
	_ = r.cmd.Wait()
	return r.cmd.ProcessState.ExitCode()
}

// TestInterruptedImportIntoAServerLeavesNothing: while it sends, while it waits for the
// commit of somebody else, and not a lock.
func TestInterruptedImportIntoAServerLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"5", "6"} {
		for _, method := range []string{"storea", "vote"} {
			t.Run(version+method, func(t *testing.T) {
				t.Parallel()
				z := harness.StartZEO(t, version, "", "")
				zurl, app := z.URL(""), application(z)
				raw, _ := rawFile(t, 30<<20)
				must(t, "import", raw, zurl, "a", "--raw")
				before := must(t, "log", zurl)
				require.Equal(t, "held", app.do("hold"))
				came, aborted := make(chan struct{}), make(chan struct{})
				first, abort := once(method, func() bool { close(came); return true }), once("tpc_abort", func() bool { close(aborted); return true })
				r := newRelay(z, func(m string) bool { return first(m) && abort(m) }, nil)
				run := begin(t, "import", raw, z.URL(r.socket), "b", "--raw")
				<-came
				require.NoError(t, run.cmd.Process.Signal(syscall.SIGINT))
				require.Equal(t, 1, run.end())
				require.Equal(t, "wcfs: import: interrupted; nothing was written\n", run.stderr.String())
				<-aborted
				require.Equal(t, before, must(t, "log", zurl))

				// One that is not interrupted goes on when the other one is done.
				came = make(chan struct{})
				r = newRelay(z, once("vote", func() bool { close(came); return true }), nil)
				run = begin(t, "import", raw, z.URL(r.socket), "b", "--raw")
				<-came
				require.Equal(t, "released", app.do("release"))
				require.Zero(t, run.end(), run.stderr.String())
				requireNames(t, zurl, "a", "b")
			})
		}
	}
}

// TestServerThatIsBusyForLongIsWaitedFor: it may be with the vote.
func TestServerThatIsBusyForLongIsWaitedFor(t *testing.T) {
	t.Parallel()
	z := harness.StartZEO(t, "6", "", "")
	raw, _ := rawFile(t, 1<<20)
	process := z.Cmd.Process
	for _, method := range []string{"vote", "tpc_finish"} {
		stopped := make(chan struct{})
		r := newRelay(z, once(method, func() bool { _ = process.Signal(syscall.SIGSTOP); close(stopped); return true }), nil)
		run := begin(t, "import", raw, z.URL(r.socket), method, "--raw")
		<-stopped
		time.Sleep(31 * time.Second) // longer than who only reads may wait
		require.NoError(t, process.Signal(syscall.SIGCONT))
		require.Zero(t, run.end(), run.stderr.String())
	}
	requireNames(t, z.URL(""), "vote", "tpc_finish")
}
