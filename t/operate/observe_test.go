package operate

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// TestMetricsFollowWhatHappens: each step changes exactly the figures that tell of
// it.
func TestMetricsFollowWhatHappens(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	sc := harness.NewSceneOf(t, 0, size)
	s := sc.Server
	problems, err := promlint.New(strings.NewReader(harness.Content(t, s.Path(".wcfs/metrics")))).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	last := s.Metrics()
	step := func(what string, want map[string]float64) {
		t.Helper()
		last = requireChange(t, s, last, what, want)
	}

	require.EqualValues(t, 0, last["bigfiles"])
	at := sc.Commit(0)
	step("a commit of what nobody has seen", map[string]float64{`invalidations_total{kind="tx"}`: 1,
		`invalidations_total{kind="block"}`: 0, `invalidation_duration_seconds_count`: 1})
	require.InDelta(t, float64(at.Time().UnixMicro())/1e6, last["head_tid"], 1e-3)
	require.Zero(t, last["head_lag_seconds"])

	harness.ReadAt(t, sc.File.Path(s, "head"), 0, size)
	step("a cold READ", map[string]float64{`bigfiles`: 1, `read_bytes_total{view="head"}`: size,
		`read_bytes_total{view="rev"}`: 0, `block_loads_total{source="zodb"}`: 1, `served_blocks`: 1, `block_load_duration_seconds_count`: 1})
	harness.ReadAt(t, sc.File.Path(s, "head"), 0, size)
	step("a warm READ", map[string]float64{`read_bytes_total{view="head"}`: 0, `block_loads_total{source="zodb"}`: 0})

	before := sc.At[len(sc.At)-1]
	sc.Commit(0)
	step("a commit of what the page cache has", map[string]float64{`invalidations_total{kind="tx"}`: 1,
		`invalidations_total{kind="file"}`: 1, `invalidations_total{kind="block"}`: 1})
	harness.ReadAt(t, sc.File.Path(s, "@"+before.String()), 0, size)
	step("a READ of a past view", map[string]float64{`revisions`: 1, `read_bytes_total{view="head"}`: 0})

	harness.ReadAt(t, sc.File.Path(s, "head"), 0, size)
	w := s.Watcher()
	w.Watch(sc.File, before)
	step("a watch that has to pin", map[string]float64{`watchlinks`: 1, `watches`: 1, `pinned_blocks`: 1, `pins_total`: 1, `pin_duration_seconds_count`: 1})
	w.Close()
	step("its end", map[string]float64{`watchlinks`: -1, `watches`: -1, `pinned_blocks`: -1, `clients_killed_total{reason="closed"}`: 0})

	_, err = os.Stat(s.Path("head/bigfile/ffff000000000000"))
	require.ErrorIs(t, err, unix.EINVAL)
	require.ErrorIs(t, os.Mkdir(s.Path("head/new"), 0o755), unix.EROFS)
	last[`fuse_requests_total{errno="EROFS",op="mkdir"}`] = 0 // it was not there
	step("what is refused", map[string]float64{`fuse_requests_total{errno="EINVAL",op="lookup"}`: 1, `fuse_requests_total{errno="EROFS",op="mkdir"}`: 1})
	require.EqualValues(t, 0, last["eio_mode"]+last["panics_total"]+last[fmt.Sprintf(`storage_requests_total{driver=%q,op="load",result="error"}`, *harness.LiveOn)])
	require.Positive(t, last[fmt.Sprintf(`storage_requests_total{driver=%q,op="load",result="ok"}`, *harness.LiveOn)])
	require.Positive(t, last["process_open_fds"]+last["go_goroutines"])
	require.InDelta(t, last["process_start_time_seconds"], last["start_time_seconds"], 60)
}

// requireChange requires that metrics have changed since last by what is wanted, and
// returns those of now.
func requireChange(t *testing.T, s *harness.Server, last map[string]float64, what string, want map[string]float64) map[string]float64 {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; { // some is counted after the answer
		now, got := s.Metrics(), make(map[string]float64)
		for series := range want {
			got[series] = now[series] - last[series]
		}
		if maps.Equal(want, got) || time.Now().After(deadline) {
			require.Equal(t, want, got, what)
			return now
		}
	}
}

// TestMetricsAreOfOneMoment, however small the pieces they are read in, and there are
// not too many of them in memory.
func TestMetricsAreOfOneMoment(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo")
	fd, err := harness.OpenFile(s.Path(".wcfs/metrics"), unix.O_RDONLY)
	require.NoError(t, err)
	piece := func(off int64, n int) string {
		data := make([]byte, n)
		n, err := unix.Pread(fd, data, off)
		require.NoError(t, err)
		return string(data[:n])
	}
	whole := piece(0, 1<<20)
	require.EqualValues(t, len(whole), harness.Stat(t, s.Path(".wcfs/metrics")).Size)
	var text strings.Builder
	for text.Len() < len(whole) {
		_, err := os.Stat(s.Path("head/at"))
		require.NoError(t, err)
		text.WriteString(piece(int64(text.Len()), 1000))
	}
	require.Equal(t, whole, text.String())
	require.Empty(t, piece(int64(len(whole)), 10))
	require.Empty(t, piece(1<<60, 10))
	unix.Close(fd)

	var fds []int
	for {
		if fd, err = harness.OpenFile(s.Path(".wcfs/metrics"), unix.O_RDONLY); err != nil {
			break
		}
		fds = append(fds, fd)
		require.Less(t, len(fds), 1000)
	}
	require.Equal(t, unix.EMFILE, err)
	for _, fd := range fds {
		unix.Close(fd)
	}
	harness.Until(t, "there is room again", func() bool {
		fd, err := harness.OpenFile(s.Path(".wcfs/metrics"), unix.O_RDONLY)
		unix.Close(fd)
		return err == nil
	})
	_, err = harness.OpenFile(s.Path(".wcfs/metrics"), unix.O_WRONLY)
	require.Equal(t, unix.EROFS, err)
}

// TestTraceTellsEveryOperation of a known sequence, in order.
func TestTraceTellsEveryOperation(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	sc := harness.NewSceneOf(t, 0, size)
	at1 := sc.Commit(1)
	s, tr := sc.Server, sc.Server.OpenTrace()
	path, oid := "/head/bigfile/"+sc.File.Oid.String(), sc.File.Oid.String()
	f := harness.OpenRandom(t, s.Path(path))
	_, err := unix.Pread(int(f.Fd()), make([]byte, 4096), size+4096)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	for _, want := range []string{
		"I lookup /head/bigfile: OK",
		"I lookup " + path + ": OK",
		"I open " + path + ": OK",
		fmt.Sprintf("I read %s off=%d size=4096: OK 4096", path, size+4096),
	} {
		require.Equal(t, want, tr.Next("/bigfile"))
	}
	_, err = os.Stat(s.Path("odd name\n\""))
	require.ErrorIs(t, err, unix.ENOENT)
	require.Equal(t, `W lookup "/odd name\n\"": ENOENT`, tr.Next("odd"))

	at2 := sc.Commit(1)
	require.Equal(t, fmt.Sprintf("I commit @%s files=1 blocks=1: OK", at2), tr.Next("commit"))
	harness.ReadAt(t, s.Path(path), size, size)
	w := s.ManualWatcher()
	request := w.Send(harness.WatchRequest(sc.File.Oid, at1))
	w.Ack(w.Pin())
	require.Equal(t, "ok", w.Reply(request))
	require.Equal(t, fmt.Sprintf("I pin %s #1 @%s: ack", oid, at1), tr.Next("pin "))

	bad := s.Faulty()
	bad.Write("1 watch " + oid + " @" + at1.String() + "\n")
	require.Contains(t, bad.Read(), "pin "+oid)
	bad.Refuse("2 no\n")
	require.Equal(t, fmt.Sprintf("W pin %s #1 @%s: %q", oid, at1, `expect "ack"; got "no"`), tr.Next("pin "))
	for line := ""; !strings.Contains(line, " kill "); line = tr.Line() {
		require.NotContains(t, line, "lost")
		if strings.HasPrefix(line, "E") {
			require.Contains(t, line, fmt.Sprintf(" kill pid=%d: refused: ", bad.Pid))
			break
		}
	}
	bad.Wait()
	harness.Until(t, "the client is counted", func() bool { return s.Metrics()[`clients_killed_total{reason="refused"}`] == 1 })
	w.Close()
}

// TestSlowReaderOfTheTraceDelaysNobody: he loses lines, and is told how many.
func TestSlowReaderOfTheTraceDelaysNobody(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo")
	fd, err := harness.OpenFile(s.Path("head/at"), unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	slow := s.OpenTrace()
	const reads = 9000 // more than the queue holds
	for range reads {
		_, err := unix.Pread(fd, make([]byte, 16), 0)
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, s.Metrics()["trace_readers"])
	told, lost := 0, 0
	for told+lost < reads {
		line, n := slow.Line(), 0
		if _, err := fmt.Sscanf(line[len("W0102 15:04:05.000000 "):], "lost %d lines", &n); err != nil {
			told++
		}
		lost += n
	}
	require.Positive(t, lost)
	require.Greater(t, told, 1000)
	_, err = unix.Pread(fd, make([]byte, 10), 3)
	require.NoError(t, err)
	for slow.Next("/head/at") != "I read /head/at off=3 size=10: OK 10" { // then it goes on
	}
	slow.Close()
	harness.Until(t, "it is forgotten", func() bool { return s.Metrics()["trace_readers"] == 0 })
}

// TestTraceIsFollowedByTail, and ends for everybody else.
func TestTraceIsFollowedByTail(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo")
	require.Empty(t, harness.Content(t, s.Path(".wcfs/trace")))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tail := exec.CommandContext(ctx, "tail", "-s", "0.01", "-f", s.Path(".wcfs/trace"))
	var words strings.Builder
	tail.Stderr = &words
	out, err := tail.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, tail.Start())
	defer func() {
		cancel()
		_ = tail.Wait()
		require.Empty(t, words.String())
	}()
	harness.Until(t, "tail has begun", func() bool { return s.Metrics()["trace_readers"] == 1 })
	lines := bufio.NewScanner(out)
	for _, name := range []string{"first", "second", "third"} {
		_, err := os.Stat(s.Path("head", name))
		require.ErrorIs(t, err, unix.ENOENT)
		for lines.Scan() && !strings.Contains(lines.Text(), "lookup /head/"+name+" ") {
			require.NotContains(t, lines.Text(), ".wcfs/trace")
		}
		require.NoError(t, lines.Err())
		require.Contains(t, lines.Text(), ": ENOENT ", "of %s", name)
		require.Empty(t, harness.Content(t, s.Path(".wcfs/trace")), "another reader ends")
	}
}

// TestReadersOfTheTraceAreBounded.
func TestReadersOfTheTraceAreBounded(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo")
	var fds []int
	var err error
	for err == nil {
		var fd int
		if fd, err = harness.OpenFile(s.Path(".wcfs/trace"), unix.O_RDONLY); err == nil {
			fds = append(fds, fd)
		}
		require.Less(t, len(fds), 1000)
	}
	require.Equal(t, unix.EMFILE, err)
	for _, fd := range fds {
		unix.Close(fd)
	}
}
