package operate

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// socketPath returns where to make a socket. The kernel wants a short path.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// get asks an HTTP server at a socket.
func get(t testing.TB, socket, path string) (status int, body string) {
	t.Helper()
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	answer, err := client.Get("http://wcfs" + path)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}

// health is the answer of /readyz.
type health struct {
	Ready  bool `json:"ready"`
	Checks []struct {
		Name   string `json:"name"`
		OK     bool   `json:"ok"`
		Reason string `json:"reason"`
	} `json:"checks"`
}

func ready(t testing.TB, socket string) (status int, h health) {
	t.Helper()
	status, body := get(t, socket, "/readyz")
	require.NoError(t, json.Unmarshal([]byte(body), &h), body)
	return status, h
}

// TestServerIsWatchedByHTTP at the addresses that were asked for, and only there.
func TestServerIsWatchedByHTTP(t *testing.T) {
	t.Parallel()
	metrics, profiles := socketPath(t), socketPath(t)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: metrics, Net: "unix"})
	require.NoError(t, err)
	stale.SetUnlinkOnClose(false)
	stale.Close() // what a killed server leaves
	s := harness.Start(t, "topo", "--metrics", "unix:"+metrics, "--pprof=unix:"+profiles)

	status, body := get(t, metrics, "/metrics")
	require.Equal(t, 200, status)
	require.Positive(t, harness.ParseMetrics(t, body)[`fuse_requests_total{errno="OK",op="lookup"}`])
	status, body = get(t, metrics, "/healthz")
	require.Equal(t, "200 ok\n", fmt.Sprint(status, " ", body))
	var h health
	harness.Until(t, "it is ready", func() bool { status, h = ready(t, metrics); return status == 200 })
	require.True(t, h.Ready)
	var names []string
	for _, check := range h.Checks {
		names = append(names, check.Name)
	}
	require.Equal(t, []string{"serving", "mount", "database", "eio_mode"}, names)
	status, body = get(t, profiles, "/debug/pprof/goroutine?debug=1")
	require.Equal(t, 200, status)
	require.Contains(t, body, "internal/core/live")
	for _, c := range [][2]string{{metrics, "/debug/pprof/"}, {profiles, "/metrics"}, {metrics, "/"}} {
		status, _ = get(t, c[0], c[1])
		require.Equal(t, 404, status, c[1])
	}

	taken := harness.Begin(t, harness.Config{Options: []string{"serve", "--metrics", "unix:" + metrics}, ZURL: "file://" + harness.CopyDatabase(t, "topo")})
	require.Equal(t, 1, taken.WaitExit())
	require.Contains(t, taken.Printed(), "wcfs: --metrics: somebody listens at unix:"+metrics+" already")
	require.NotContains(t, taken.Printed(), "start", "before it is mounted")
	s.Stop()
	for _, path := range []string{metrics, profiles} {
		require.NoFileExists(t, path)
	}
}

func TestServerIsWatchedByTCP(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "topo", "--metrics", "127.0.0.1:0")
	m := regexp.MustCompile(`metrics at (127\.0\.0\.1:\d+)`).FindStringSubmatch(s.Log())
	require.NotNil(t, m, s.Log())
	answer, err := http.Get("http://" + m[1] + "/healthz")
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, 200, answer.StatusCode)
	s.Stop()
}

func TestAddressesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	path := harness.CopyDatabase(t, "topo")
	for _, address := range []string{"9100", "localhost", ":http x", ":65536", ":-1", "unix:", "unix:/" + strings.Repeat("x", 200), "::1:80"} {
		for _, option := range []string{"--metrics", "--pprof"} {
			code, _, stderr := harness.Run(t, "serve", option, address, path, t.TempDir())
			require.Equal(t, 2, code, "%s %s: %s", option, address, stderr)
			require.Contains(t, stderr, "wcfs: serve: "+option+": ")
		}
	}
}

// manager is a service manager as systemd: it is sent messages.
type manager struct {
	t    testing.TB
	path string
	conn *net.UnixConn
}

func newManager(t testing.TB) *manager {
	t.Helper()
	m := &manager{t: t, path: socketPath(t)}
	var err error
	m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { m.conn.Close() })
	return m
}

// Next waits for the next message, "" if there is none for some time.
func (m *manager) Next(limit time.Duration) string {
	m.t.Helper()
	require.NoError(m.t, m.conn.SetReadDeadline(time.Now().Add(limit)))
	buf := make([]byte, 4096)
	n, err := m.conn.Read(buf)
	if err != nil {
		require.ErrorIs(m.t, err, os.ErrDeadlineExceeded)
	}
	return string(buf[:n])
}

// TestServiceManagerIsToldTheTruth: READY when the mount answers, signs of life
// only as long as it does, STOPPING in the end. And /readyz says why not.
func TestServiceManagerIsToldTheTruth(t *testing.T) {
	t.Parallel()
	m, metrics := newManager(t), socketPath(t)
	env := append(os.Environ(), "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=300000")
	s := harness.Begin(t, harness.Config{Options: []string{"--metrics=unix:" + metrics}, ZURL: "file://" + harness.CopyDatabase(t, "topo"), Env: env})
	first := m.Next(20 * time.Second)
	require.Equal(t, "READY=1\nSTATUS=serving "+s.ZURL+" at "+s.Dir, first)
	require.Len(t, harness.Content(t, s.Path("head/at")), 16, "it answers at once")
	require.True(t, s.WaitReady(false))
	for range 3 {
		require.Equal(t, "WATCHDOG=1", m.Next(10*time.Second))
	}
	status, _ := ready(t, metrics)
	require.Equal(t, 200, status)

	fd, err := harness.OpenFile(s.Path("head/at"), unix.O_RDONLY) // the server goes on
	require.NoError(t, err)
	require.NoError(t, unix.Unmount(s.Dir, unix.MNT_DETACH))
	harness.Until(t, "readyz notices", func() bool { status, _ = ready(t, metrics); return status != 200 })
	status, h := ready(t, metrics)
	require.Equal(t, 503, status)
	require.False(t, h.Ready)
	for _, check := range h.Checks {
		require.Equal(t, check.Name != "mount", check.OK, "%+v", check)
		if check.Name == "mount" {
			require.Contains(t, check.Reason, "head/at: no such file or directory")
		}
	}
	status, _ = get(t, metrics, "/healthz")
	require.Equal(t, 200, status)
	harness.Until(t, "it is told why the signs of life end", func() bool {
		return strings.Contains(s.Printed(), "the mount does not answer: ") && strings.Contains(s.Printed(), "the service manager will end the server")
	})
	harness.Until(t, "no sign of life is left", func() bool { return m.Next(time.Second) == "" })
	unix.Close(fd)
	require.Zero(t, s.WaitExit(), s.Printed())
	require.Equal(t, "STOPPING=1\nSTATUS=stopping", m.Next(time.Second))
	require.Empty(t, m.Next(time.Millisecond))
}

// TestServiceManagerLearnsWhatWentWrong, and those who ask for nothing are told
// nothing.
func TestServiceManagerLearnsWhatWentWrong(t *testing.T) {
	t.Parallel()
	l, m := harness.NewLive(t), newManager(t)
	l.NewFile(4096)
	s := harness.Launch(t, harness.Config{ZURL: "file://" + l.File(), Env: append(os.Environ(), "NOTIFY_SOCKET="+m.path)})
	require.Contains(t, m.Next(10*time.Second), "READY=1\n")
	info, err := os.Stat(l.File())
	require.NoError(t, err)
	require.NoError(t, os.Truncate(l.File(), info.Size()-1))
	require.Contains(t, m.Next(10*time.Second), "STOPPING=1\nSTATUS=stopping: watch the database: ")
	harness.RequireEIOMode(t, s)
	s.Unmount()

	odd := harness.Begin(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Env: append(os.Environ(), "WATCHDOG_USEC=soon")})
	require.Equal(t, 1, odd.WaitExit())
	require.Contains(t, odd.Printed(), "$WATCHDOG_USEC")
}

// TestLogSuitsTheJournal: if stderr is the journal, lines have a priority and no
// time; if not, they are of glog.
func TestLogSuitsTheJournal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		inode uint64
		line  string
	}{
		{0, `^<[3-6]>[a-z]+\.go:\d+\] |^<3>`},
		{1, `^[IWE]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [a-z]+\.go:\d+\] `}, // somebody else's journal
	} {
		log := filepath.Join(t.TempDir(), "log")
		require.NoError(t, os.WriteFile(log, nil, 0o644))
		info, err := os.Stat(log)
		require.NoError(t, err)
		st := info.Sys().(*syscall.Stat_t)
		stream := fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, st.Ino+c.inode)
		s := harness.Launch(t, harness.Config{ZURL: "file://" + harness.CopyDatabase(t, "topo"), Stderr: log, Env: append(os.Environ(), stream)})
		_, err = os.Stat(s.Path("head/bigfile/ffff000000000000"))
		require.ErrorIs(t, err, unix.EINVAL)
		s.Stop()
		text := harness.Content(t, log)
		lines := bufio.NewScanner(strings.NewReader(text))
		for lines.Scan() {
			require.Regexp(t, c.line, lines.Text())
		}
		require.GreaterOrEqual(t, strings.Count(text, "\n"), 4)
		warning := regexp.MustCompile(`(?m)^<4>headfile\.go:\d+\] /head/bigfile: lookup "ffff000000000000"`)
		require.Equal(t, c.inode == 0, warning.MatchString(text), text)
	}
}
