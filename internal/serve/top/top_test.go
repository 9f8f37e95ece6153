package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// lookOf returns a look with some metrics, in the text format.
func lookOf(t *testing.T, at time.Time, text string) *look {
	t.Helper()
	m, err := parseMetrics([]byte(text))
	require.NoError(t, err)
	return &look{server: control.Server{Entry: mount.Entry{Dir: "/mnt/x", Source: "file:///x.fs"}, State: control.StateOK}, at: at, metrics: m, head: "03e1c2d0a0b0c0d0"}
}

// busy is metrics of a server after n seconds in which it had something to do.
func busy(n int) string {
	return fmt.Sprintf(`# TYPE wcfs_start_time_seconds gauge
wcfs_start_time_seconds 1000
# TYPE wcfs_head_lag_seconds gauge
wcfs_head_lag_seconds 12
# TYPE wcfs_fuse_requests_total counter
wcfs_fuse_requests_total{errno="OK",op="read"} %[1]d
wcfs_fuse_requests_total{errno="EIO",op="read"} %[1]d
wcfs_fuse_requests_total{errno="OK",op="open"} 5
# TYPE wcfs_read_bytes_total counter
wcfs_read_bytes_total{view="head"} %[2]d
wcfs_read_bytes_total{view="rev"} 0
# TYPE wcfs_pin_duration_seconds histogram
wcfs_pin_duration_seconds_bucket{le="+Inf"} %[1]d
wcfs_pin_duration_seconds_sum %[3]d
wcfs_pin_duration_seconds_count %[1]d
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1048576
`, 10*n, n<<20, 20*n)
}

// TestFiguresAreOfTheTimeBetweenLooks, and there are none that nothing tells of.
func TestFiguresAreOfTheTimeBetweenLooks(t *testing.T) {
	begin := time.Unix(2000, 0)
	w := &watched{now: lookOf(t, begin.Add(2*time.Second), busy(3)), last: lookOf(t, begin, busy(1))}
	got := w.document()
	require.Equal(t, map[string]map[string]float64{
		"head":    {"lag_seconds": 12},
		"reads":   {"per_second": 20, "errors_per_second": 10, "head_bytes_per_second": 1 << 20, "past_bytes_per_second": 0},
		"process": {"memory_bytes": 1 << 20, "cpu": 0},
	}, only(got.Figures, "head", "reads", "process"))
	require.Equal(t, 2.0, got.Figures["clients"]["pin_seconds"])
	require.Equal(t, 2.0, got.Over)

	w.last = lookOf(t, begin, strings.Replace(busy(1), "seconds 1000", "seconds 999", 1))
	got = w.document()
	require.Zero(t, got.Over, "it is another process")
	require.NotContains(t, got.Figures["reads"], "per_second")
	require.Equal(t, 12.0, got.Figures["head"]["lag_seconds"])
}

func only(figures map[string]map[string]float64, groups ...string) map[string]map[string]float64 {
	some := map[string]map[string]float64{}
	for _, group := range groups {
		some[group] = figures[group]
	}
	return some
}

// TestFrameFitsIntoAnyTerminal, whatever names others have chosen: no line is wider than it,
// and nothing in it is what a terminal obeys.
func TestFrameFitsIntoAnyTerminal(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		name := rapid.StringN(0, 40, 80)
		w := &watched{now: lookOf(t, time.Unix(2000, 0), busy(3)), last: lookOf(t, time.Unix(1999, 0), busy(1))}
		w.now.server.Dir, w.now.server.Source = "/"+name.Draw(r, "dir"), name.Draw(r, "source")
		w.now.trouble = name.Draw(r, "trouble")
		since := time.Unix(1990, 0)
		for i := range rapid.IntRange(0, 3).Draw(r, "clients") {
			w.now.clients = append(w.now.clients, client{PID: i, Command: name.Draw(r, "command"), Since: &since})
		}
		f := &frame{now: time.Unix(2001, 0), servers: []*watched{w}, silence: time.Duration(rapid.IntRange(0, 2).Draw(r, "silence")) * time.Second}
		if rapid.Bool().Draw(r, "several") {
			f.servers = append(f.servers, w)
		}
		width := rapid.IntRange(1, 120).Draw(r, "width")
		for _, l := range f.lines(width) {
			text := l.text(width, false)
			require.LessOrEqual(r, uniseg.StringWidth(text), width, "%q", text)
			require.NotRegexp(r, `[\x00-\x1f\x7f-\x9f]`, text)
			colours := strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[2m", "", "\x1b[32m", "", "\x1b[1;31m", "").Replace(l.text(width, true))
			require.Equal(r, text, strings.TrimRight(colours, " "))
		}
	})
}

// TestWhatIsWrongIsSaidFirst: with a client that keeps others waiting.
func TestWhatIsWrongIsSaidFirst(t *testing.T) {
	now := time.Unix(2000, 0)
	w := &watched{now: lookOf(t, now, busy(1))}
	since := now.Add(-5 * time.Second)
	w.now.clients = []client{{PID: 7, Command: "slow", Unanswered: 3, Since: &since}, {PID: 8, Command: "fine"}}
	text := func() string {
		var all strings.Builder
		for _, l := range w.lines(now, 80) {
			all.WriteString(l.text(80, false) + "\n")
		}
		return all.String()
	}
	require.Regexp(t, `(?s)COMMAND.*slow +7 +3 +5.0 s .*\nhead `, text())
	require.Contains(t, text(), "12 s behind")
	w.now.clients[0].Since = nil
	require.Regexp(t, `(?s)\nhead .*COMMAND`, text())
}

func TestNumbersAreShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.05: "0.05", 1.25: "1.2", 99: "99", 123.4: "123", 9999: "9999", 10000: "10k", 999999: "1e+03k", 12345678: "12.3M"} {
		if v == 999999 {
			want = "1M"
		}
		require.Equal(t, want, short(v), v)
	}
	require.Equal(t, []string{"0 s", "2.5 s", "59 s", "59 min", "47 h 59 min", "3 days"},
		[]string{age(0), age(2.5), age(59.4), age(3599), age(48*3600 - 1), age(3 * 86400)})
	require.Equal(t, []string{"0 us", "250 us", "2.5 ms", "250 ms", "2.5 s"}, []string{took(0), took(250e-6), took(2.5e-3), took(0.25), took(2.5)})
}

// TestClientsAreReadWhateverTheyAreCalled.
func TestClientsAreReadWhateverTheyAreCalled(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 34, 56, 123456000, time.UTC)
	all, omitted := parseClients([]byte("pid=77 links=1 watches=4 pinned=120 unanswered=1 since=2024-02-29T12:34:56.123456Z comm=\"a pid=9 \\n\"\n" +
		"pid=78 links=2 watches=0 pinned=0 unanswered=0 since=- new=3 comm=python3\n\nnonsense\n# 3 more\n"))
	require.Equal(t, []client{
		{PID: 77, Command: "a pid=9 \n", Links: 1, Watches: 4, Pinned: 120, Unanswered: 1, Since: &at},
		{PID: 78, Command: "python3", Links: 2},
	}, all)
	require.Equal(t, "3 more", omitted)
}

// TestOnceSaysThatThereIsNoServer, and a document is one also without clients.
func TestOnceSaysThatThereIsNoServer(t *testing.T) {
	none := &fault.Error{Kind: fault.NotRunning, Msg: "no server is running"}
	opt := Options{Find: func() ([]control.Server, error) { return nil, none }}
	require.ErrorIs(t, Once(t.Context(), opt, &bytes.Buffer{}, false), error(none))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	opt.Find = func() ([]control.Server, error) { return nil, nil }
	require.True(t, errors.Is(Once(ctx, opt, &bytes.Buffer{}, true), context.Canceled))

	var out bytes.Buffer
	require.NoError(t, (&frame{servers: []*watched{{now: &look{}}}}).json(&out))
	var doc map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &doc))
	require.Equal(t, []any{}, doc["servers"].([]any)[0].(map[string]any)["clients"])
}
