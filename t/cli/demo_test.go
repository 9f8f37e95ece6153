package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// Demo is a running `wcfs demo` with a temporary directory of its own.
type Demo struct {
	t   testing.TB
	cmd *exec.Cmd
	tmp string
	out *bufio.Reader // what it prints on stdout
	err *strings.Builder
}

// StartDemo starts a demo that is faster than for people.
func StartDemo(t testing.TB, interval time.Duration, options ...string) *Demo {
	t.Helper()
	d := newDemo(t, interval, options...)
	out, theirs, err := os.Pipe()
	require.NoError(t, err)
	defer theirs.Close()
	t.Cleanup(func() { out.Close() })
	_, err = unix.FcntlInt(theirs.Fd(), unix.F_SETPIPE_SZ, smallPipe)
	require.NoError(t, err)
	d.out = bufio.NewReaderSize(out, 1)
	d.cmd.Stdout, d.cmd.Stderr = theirs, d.err
	require.NoError(t, harness.StartProcess(d.cmd))
	return d
}

// smallPipe is the size of the pipe that a demo writes to. The longest demo says more,
// so it does not come to its end while a test is slow to read.
const smallPipe = 4096

func newDemo(t testing.TB, interval time.Duration, options ...string) *Demo {
	d := &Demo{t: t, tmp: t.TempDir(), err: new(strings.Builder)}
	line := append(slices.Clone(harness.HearsHangup), harness.Binary, "demo", "--interval", interval.String())
	d.cmd = exec.Command(line[0], append(line[1:], options...)...)
	d.cmd.Env = append(os.Environ(), "TMPDIR="+d.tmp, "TERM=xterm", "NO_COLOR=")
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	timer := time.AfterFunc(harness.Limit, func() {
		t.Errorf("the demo did not end within %s", harness.Limit)
		_ = d.cmd.Process.Signal(syscall.SIGQUIT)
	})
	t.Cleanup(func() { timer.Stop() })
	return d
}

// Until reads lines until one has text in it, and returns that.
func (d *Demo) Until(text string) string {
	d.t.Helper()
	for {
		line, err := d.out.ReadString('\n')
		require.NoError(d.t, err, d.err)
		if strings.Contains(line, text) {
			return line
		}
	}
}

// Wait waits for the end and returns the exit code and the rest of the output.
func (d *Demo) Wait() (code int, rest, stderr string) {
	d.t.Helper()
	text, _ := io.ReadAll(d.out)
	_ = d.cmd.Wait()
	return d.cmd.ProcessState.ExitCode(), string(text), d.err.String()
}

// Processes returns the processes that have something to do with the demo.
func (d *Demo) Processes() (left []int) {
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(d.t, err)
	for _, path := range entries {
		text, _ := os.ReadFile(path)
		if pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))); strings.Contains(string(text), d.tmp) {
			left = append(left, pid)
		}
	}
	return left
}

// servers returns which of them serve.
func (d *Demo) servers() (list []int) {
	for _, pid := range d.Processes() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(text), "\x00serve\x00") {
			list = append(list, pid)
		}
	}
	return list
}

// files returns what is in the temporary directory.
func (d *Demo) files() (names []string) {
	entries, err := os.ReadDir(d.tmp)
	require.NoError(d.t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// NothingLeft requires that no mount, process or file is left.
func (d *Demo) NothingLeft() {
	d.t.Helper()
	require.Empty(d.t, harness.Mounts(d.tmp))
	require.Empty(d.t, d.Processes())
	require.Empty(d.t, d.files())
}

// demoRow is a line of the table: time, transaction, head/, the snapshot, and the
// blocks that left the page cache.
var demoRow = regexp.MustCompile(`(?m)^ *\d+\.\d s  ([0-9a-f]{16})((?: [ \d]\d){6})    ((?: [ \d]\d){6})((?:  ?#\d)*)$`)

// cells returns the numbers of a column.
func cells(column string) [6]string { return [6]string(strings.Fields(column)) }

// TestDemoShowsWhatItPromises: head/ moves with each commit, the snapshot stays
// until the client moves it, exactly the changed blocks leave the page cache, and
// the past is still there. Then nothing is left.
func TestDemoShowsWhatItPromises(t *testing.T) {
	t.Parallel()
	for _, commits := range []int{3, 12} {
		d := StartDemo(t, 20*time.Millisecond, "--seconds", fmt.Sprint(commits))
		code, out, stderr := d.Wait()
		require.Zero(t, code, "%s%s", out, stderr)
		require.Empty(t, stderr)
		d.NothingLeft()

		rows := demoRow.FindAllStringSubmatch(out, -1)
		require.Len(t, rows, commits+1, out)
		move := strings.Index(out, "the client moves forward")
		require.Positive(t, move, out)
		held, head, dropped, tid := [6]string{"1", "1", "1", "1", "1", "1"}, [6]string{}, 0, ""
		moved := false
		for i, row := range rows {
			now, left := cells(row[2]), strings.Fields(row[4])
			if !moved && strings.Index(out, row[0]) > move {
				moved, held = true, head
			}
			require.Greater(t, row[1], tid, "transactions are in order")
			require.Equal(t, held, cells(row[3]), row[0])
			var changed []string
			for blk := range now {
				if now[blk] != head[blk] && i > 0 {
					require.Equal(t, fmt.Sprint(i+1), now[blk], row[0])
					changed = append(changed, fmt.Sprintf("#%d", blk))
				}
			}
			require.Equal(t, changed, append([]string(nil), left...), row[0])
			dropped += len(left)
			tid, head = row[1], now
		}
		require.True(t, moved)
		require.NotEqual(t, [6]string{"1", "1", "1", "1", "1", "1"}, held)
		require.Regexp(t, `and reads (nothing|\d+ KiB)\n`, out) // the kernel may need memory meanwhile
		require.Contains(t, out, "@"+rows[0][1]+"/:\n                          1  1  1  1  1  1\n")
		require.Contains(t, out, fmt.Sprintf("\nThey changed %d of %d cached blocks, and %[1]d left the page cache.", dropped, 6*commits))
		require.Contains(t, out, fmt.Sprintf("together read %d MiB from the database", 2*(6+dropped)))
		require.Regexp(t, `told [1-9]\d* times to map a block from the past`, out)
		require.Contains(t, out, "Server, mount and database are gone again.\n")
		require.Contains(t, out, "  "+harness.Binary+" serve my.fs\n")
		require.NotContains(t, out, "\x1b", "it is no terminal")
	}
}

// TestDemoKeepsTheDatabase if it is told to, and that is one that can be served.
func TestDemoKeepsTheDatabase(t *testing.T) {
	t.Parallel()
	d := StartDemo(t, time.Millisecond, "--seconds", "3", "--keep")
	code, out, stderr := d.Wait()
	require.Zero(t, code, stderr)
	require.Empty(t, harness.Mounts(d.tmp))
	require.Empty(t, d.Processes())
	kept := regexp.MustCompile(`(?m)^The database is kept: (.*)$`).FindStringSubmatch(out)
	require.NotNil(t, kept, out)
	require.NotContains(t, out, "gone again")
	require.Equal(t, []string{"demo.fs", "demo.fs.index"}, harness.List(t, filepath.Dir(kept[1])))
	rows := demoRow.FindAllStringSubmatch(out, -1)
	s := harness.StartOn(t, kept[1])
	require.Equal(t, rows[len(rows)-1][1], harness.Content(t, s.Path("head/at")))
	s.Stop()
}

// TestDemoLeavesNothingWhenItIsStopped, with whatever signal.
func TestDemoLeavesNothingWhenItIsStopped(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		for _, when := range []string{"is served", "  #3", "  #4"} {
			d := StartDemo(t, 50*time.Millisecond, "--seconds", "60")
			d.Until(when)
			require.NoError(t, d.cmd.Process.Signal(sig))
			code, _, stderr := d.Wait()
			require.Equal(t, 1, code)
			require.Equal(t, "wcfs: interrupted\n", stderr)
			d.NothingLeft()
		}
	}
}

// TestDemoLeavesNothingWhenNobodyReadsIt: as with | head.
func TestDemoLeavesNothingWhenNobodyReadsIt(t *testing.T) {
	t.Parallel()
	d := newDemo(t, 10*time.Millisecond)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	d.out = bufio.NewReader(r)
	d.cmd.Stdout, d.cmd.Stderr = w, d.err
	require.NoError(t, harness.StartProcess(d.cmd))
	require.NoError(t, w.Close())
	d.Until("  #3")
	require.NoError(t, r.Close())
	code, _, stderr := d.Wait()
	require.Equal(t, 1, code)
	require.Equal(t, "wcfs: write /dev/stdout: broken pipe\n", stderr)
	d.NothingLeft()
}

// TestDemoTellsThatTheServerIsGone, and leaves nothing.
func TestDemoTellsThatTheServerIsGone(t *testing.T) {
	t.Parallel()
	for sig, text := range map[syscall.Signal]string{
		syscall.SIGKILL: "wcfs: the server has ended (signal: killed); ",
		syscall.SIGTERM: "wcfs: the server has ended (exit status 0); ",
	} {
		d := StartDemo(t, 50*time.Millisecond, "--seconds", "60")
		d.Until("  #4")
		servers := d.servers()
		require.Len(t, servers, 1)
		require.NoError(t, syscall.Kill(servers[0], sig))
		code, _, stderr := d.Wait()
		require.Equal(t, 1, code)
		require.True(t, strings.HasPrefix(stderr, text), stderr)
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
		d.NothingLeft()
	}
}

// TestDemoThatIsKilledTakesItsServerAlong: only files are left.
func TestDemoThatIsKilledTakesItsServerAlong(t *testing.T) {
	t.Parallel()
	d := StartDemo(t, 20*time.Millisecond, "--seconds", "60")
	d.Until("  #4")
	require.NoError(t, d.cmd.Process.Kill())
	_, _, _ = d.Wait()
	harness.Until(t, "the server ends", func() bool { return len(d.Processes()) == 0 })
	require.Empty(t, harness.Mounts(d.tmp), "it unmounts, as the last client is gone")
}

// TestDemoOnATerminal is styled, unless NO_COLOR says otherwise, and leaves
// nothing when the terminal goes away.
func TestDemoOnATerminal(t *testing.T) {
	t.Parallel()
	for _, env := range []string{"NO_COLOR=", "NO_COLOR=1", "TERM=dumb"} {
		d := newDemo(t, time.Second, "--seconds", "60")
		d.cmd.Env = append(d.cmd.Env, env)
		terminal := d.onTerminal()
		row := d.Until("  #3")
		require.Equal(t, env == "NO_COLOR=", strings.Contains(row, "\x1b[1m 2\x1b[0m"), "%q", row)
		require.NoError(t, terminal.Close())
		_ = d.cmd.Wait()
		require.Equal(t, 1, d.cmd.ProcessState.ExitCode())
		d.NothingLeft()
	}
}

// onTerminal starts the demo on a new terminal, which goes away with Close.
func (d *Demo) onTerminal() (terminal io.Closer) {
	d.t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	require.NoError(d.t, err)
	require.NoError(d.t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(d.t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(d.t, err)
	d.cmd.Stdin, d.cmd.Stdout, d.cmd.Stderr = slave, slave, slave
	d.cmd.SysProcAttr.Setsid, d.cmd.SysProcAttr.Setctty = true, true
	require.NoError(d.t, harness.StartProcess(d.cmd))
	require.NoError(d.t, slave.Close())
	master := os.NewFile(uintptr(fd), "terminal")
	d.out = bufio.NewReader(master)
	return master
}
