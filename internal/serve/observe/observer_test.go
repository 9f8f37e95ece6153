package observe

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/isolation"
	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// full returns an Observer that shows all metrics, with figures of a server.
func full() *Observer {
	o := New(30 * time.Second)
	o.Watch(func() State {
		return State{
			Head: live.Stats{At: zodb.TidFromTime(time.Unix(1e9, 0)), Files: 3, Served: 40, Nodes: 5, ZBlks: 6, Reads: 7, Waiting: 2, Evicted: 8,
				Preserved: 9, History: 10, HistoryBegin: zodb.TidFromTime(time.Unix(1e9-60, 0)), Cache: versions.CacheStats{Bytes: 11, Hits: 12, Misses: 13}},
			Clients: isolation.Stats{WatchLink: 14, Watch: 15, PinnedBlk: 16, Pin: 17},
			Loads:   bigfile.LoaderStats{Failed: 18, StoreErrors: 19},
			Views:   20,
			Newest:  zodb.TidFromTime(time.Unix(1e9, 0)),
			Queue:   21,
			Reach: storage.Reach{Up: true, Reconnects: 22, Nodes: []storage.Node{
				{Role: "master", Address: "m:1", State: "primary", Connected: true},
				{Role: storage.RoleStorage, Name: "S1", Address: "s:1", State: "down", Parts: 23, Answers: 24},
			}},
		}
	})
	o.Storage("file", nil)
	return o
}

// values returns what o shows, by series.
func values(t *testing.T, o *Observer) map[string]float64 {
	t.Helper()
	text, err := o.Text()
	require.NoError(t, err)
	all := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		if i := strings.LastIndexByte(line, ' '); line[0] != '#' {
			all[line[:i]], err = strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
			require.NoError(t, err, line)
		}
	}
	return all
}

// TestMetricsAreAsPrometheusLikesThem: names, units, types and help.
func TestMetricsAreAsPrometheusLikesThem(t *testing.T) {
	t.Parallel()
	o := full()
	o.End(Read, o.Begin(Read), syscall.EIO)
	text, err := o.Text()
	require.NoError(t, err)
	problems, err := promlint.New(strings.NewReader(string(text))).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

// TestDocumentationNamesExactlyTheMetrics: the table of the package comment.
func TestDocumentationNamesExactlyTheMetrics(t *testing.T) {
	t.Parallel()
	text, err := full().Text()
	require.NoError(t, err)
	shown := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE wcfs_(\w+)`).FindAllStringSubmatch(string(text), -1) {
		shown[m[1]] = true
	}
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile(`(?m)^//\t(\S.*)$`).FindAllStringSubmatch(string(doc), -1) {
		names := strings.Split(strings.TrimSpace(regexp.MustCompile(`\{[^}]*\}|  .*`).ReplaceAllString(row[1], "")), ", ")
		for _, name := range names {
			if strings.HasPrefix(name, "_") { // as in "a_hits_total, _misses_total"
				name = "zodb_cache" + name
			}
			documented[name] = true
		}
	}
	require.Equal(t, shown, documented)
}

// TestRequestsAreCounted by op and errno, from many goroutines.
func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	o := New(time.Second)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				o.End(Read, o.Begin(Read), 0)
				o.End(Mkdir, o.Begin(Mkdir), syscall.EROFS)
				o.ReadBytes(RevView, 10)
			}
		})
	}
	all.Wait()
	o.Begin(Lookup)
	took := o.End(Open, time.Now().Add(-3*time.Second), 0)
	require.GreaterOrEqual(t, took, 3*time.Second)
	got := values(t, o)
	for series, want := range map[string]float64{
		`wcfs_fuse_requests_total{errno="OK",op="read"}`:                  800,
		`wcfs_fuse_requests_total{errno="EROFS",op="mkdir"}`:              800,
		`wcfs_fuse_requests_total{errno="OK",op="mkdir"}`:                 0,
		`wcfs_fuse_inflight{op="read"}`:                                   0,
		`wcfs_fuse_inflight{op="lookup"}`:                                 1,
		`wcfs_fuse_request_duration_seconds_count{op="read"}`:             800,
		`wcfs_fuse_request_duration_seconds_bucket{op="open",le="2"}`:     0,
		`wcfs_fuse_request_duration_seconds_bucket{op="open",le="1e-05"}`: 0,
		`wcfs_fuse_request_duration_seconds_bucket{op="open",le="60"}`:    1,
		`wcfs_read_bytes_total{view="rev"}`:                               8000,
		`wcfs_read_bytes_total{view="head"}`:                              0,
	} {
		value, ok := got[series]
		require.True(t, ok, "%s in %v", series, got)
		require.Equal(t, want, value, series)
	}
}

// TestWhatHappensIsCounted besides requests.
func TestWhatHappensIsCounted(t *testing.T) {
	t.Parallel()
	o := full()
	o.Committed(core.Commit{Files: 2, Blocks: 5, Took: time.Millisecond})
	o.Committed(core.Commit{Took: time.Hour})
	o.Pinned(core.Pin{Took: 29 * time.Second})
	o.Pinned(core.Pin{Took: 31 * time.Second, Err: errors.New("late")})
	o.Killed(core.Kill{Reason: core.Refused})
	o.Loaded(time.Millisecond)
	o.Panicked()
	require.Empty(t, o.DownReason())
	require.Zero(t, values(t, o)["wcfs_eio_mode"])
	o.Down(errors.New("it is gone"))
	o.Down(errors.New("what follows from it"))
	require.Equal(t, "it is gone", o.DownReason())
	got := values(t, o)
	for series, want := range map[string]float64{
		`wcfs_invalidations_total{kind="tx"}`:         2,
		`wcfs_invalidations_total{kind="file"}`:       2,
		`wcfs_invalidations_total{kind="block"}`:      5,
		`wcfs_invalidation_duration_seconds_count`:    2,
		`wcfs_pin_duration_seconds_bucket{le="30"}`:   1,
		`wcfs_pin_duration_seconds_bucket{le="+Inf"}`: 2,
		`wcfs_clients_killed_total{reason="refused"}`: 1,
		`wcfs_clients_killed_total{reason="timeout"}`: 0,
		`wcfs_block_load_duration_seconds_count`:      1,
		`wcfs_panics_total`:                           1,
		`wcfs_eio_mode`:                               1,
		`wcfs_pins_total`:                             17,
		`wcfs_head_tid`:                               1e9,
		`wcfs_tail_coverage_seconds`:                  60,
		`wcfs_head_lag_seconds`:                       0,
		`wcfs_zwatch_queue_depth`:                     21,
		`wcfs_block_loads_total{source="zodb"}`:       0,
		`wcfs_pagecache_store_errors_total`:           19,
		`wcfs_tracked_objects{kind="node"}`:           5,
		`wcfs_zodb_cache_misses_total`:                13,
		`wcfs_trace_readers`:                          0,
	} {
		value, ok := got[series]
		require.True(t, ok, series)
		require.InDelta(t, want, value, 1e-6, series)
	}
}

// TestPinTimeoutIsAnEdgeOfTheBuckets, and none is beyond it.
func TestPinTimeoutIsAnEdgeOfTheBuckets(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{time.Nanosecond, time.Second, 30 * time.Second, 45 * time.Second, time.Hour} {
		edges := pinBuckets(timeout)
		require.Equal(t, timeout.Seconds(), edges[len(edges)-1])
		require.IsIncreasing(t, append([]float64{0}, edges...))
	}
}

// TestLagIsHowLongATransactionWaits: not how long nobody has committed anything.
func TestLagIsHowLongATransactionWaits(t *testing.T) {
	t.Parallel()
	at := func(second int64) zodb.Tid { return zodb.TidFromTime(time.Unix(second, 0)) }
	for _, c := range []struct {
		at, pending, newest zodb.Tid
		want                time.Duration
	}{
		{at(100), 0, at(100), 0},
		{at(100), 0, at(90), 0}, // it was asked before
		{at(100), 0, at(150), 50 * time.Second},
		{at(100), at(120), at(150), 80 * time.Second},
		{at(100), at(300), at(300), 0}, // the clock of the writer is fast
		{0, 0, 0, 0},
	} {
		got := lag(live.Stats{At: c.at, Pending: c.pending}, c.newest, time.Unix(200, 0))
		require.InDelta(t, c.want.Seconds(), got.Seconds(), 1e-3, "%+v", c)
	}
}

// scripted is a storage with given answers.
type scripted struct {
	storage.Storage
	err error
}

func (s *scripted) Load(context.Context, zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	return nil, 7, s.err
}

type scriptedSerialer struct{ scripted }

func (s *scriptedSerialer) Serial(context.Context, zodb.Xid) (zodb.Tid, error) { return 8, s.err }

type scriptedMany struct{ scriptedSerialer }

func (s *scriptedMany) LoadMany(_ context.Context, xids []zodb.Xid) []storage.Loaded {
	all := make([]storage.Loaded, len(xids))
	for i := range all {
		all[i].Err = []error{nil, &zodb.NoDataError{}, s.err}[i%3]
	}
	return all
}

// TestObjectsOfOneQuestionAreCountedEach, and their time once.
func TestObjectsOfOneQuestionAreCountedEach(t *testing.T) {
	t.Parallel()
	o := New(time.Second)
	for _, plain := range []storage.Storage{&scripted{}, &scriptedSerialer{}} {
		_, ok := storage.Many(o.Storage("plain", plain))
		require.False(t, ok)
	}
	mine := errors.New("broken")
	many, ok := storage.Many(o.Storage("many", &scriptedMany{scriptedSerialer{scripted{err: mine}}}))
	require.True(t, ok)
	all := many.LoadMany(t.Context(), make([]zodb.Xid, 7))
	require.Len(t, all, 7)
	require.Equal(t, mine, all[2].Err)
	got := values(t, o)
	for series, want := range map[string]float64{
		`wcfs_storage_requests_total{driver="many",op="load",result="ok"}`:      3,
		`wcfs_storage_requests_total{driver="many",op="load",result="no_data"}`: 2,
		`wcfs_storage_requests_total{driver="many",op="load",result="error"}`:   2,
		`wcfs_storage_request_duration_seconds_count{driver="many",op="load"}`:  1,
	} {
		require.Equal(t, want, got[series], series)
	}
}

// TestStorageIsCounted, and can what it could before.
func TestStorageIsCounted(t *testing.T) {
	t.Parallel()
	o := New(time.Second)
	plain := &scripted{}
	s := o.Storage("plain", plain)
	_, ok := s.(storage.Serialer)
	require.False(t, ok)
	for _, plain.err = range []error{nil, nil, &zodb.NoDataError{}, errors.New("broken")} {
		_, tid, err := s.Load(t.Context(), zodb.Xid{})
		require.EqualValues(t, 7, tid)
		require.Equal(t, plain.err, err)
	}
	serial, err := o.Storage("both", &scriptedSerialer{}).(storage.Serialer).Serial(t.Context(), zodb.Xid{})
	require.NoError(t, err)
	require.EqualValues(t, 8, serial)
	got := values(t, o)
	for series, want := range map[string]float64{
		`wcfs_storage_requests_total{driver="plain",op="load",result="ok"}`:      2,
		`wcfs_storage_requests_total{driver="plain",op="load",result="no_data"}`: 1,
		`wcfs_storage_requests_total{driver="plain",op="load",result="error"}`:   1,
		`wcfs_storage_requests_total{driver="both",op="serial",result="ok"}`:     1,
		`wcfs_storage_request_duration_seconds_count{driver="plain",op="load"}`:  4,
		`wcfs_storage_request_duration_seconds_count{driver="both",op="serial"}`: 1,
	} {
		require.Equal(t, want, got[series], series)
	}
}

// TestReadyTellsWhatFails: all of it, with status 503.
func TestReadyTellsWhatFails(t *testing.T) {
	t.Parallel()
	ok := func(context.Context) error { return nil }
	bad := func(context.Context) error { return errors.New("no \"answer\"") }
	for _, c := range []struct {
		checks []Check
		status int
		want   Health
	}{
		{nil, 200, Health{Ready: true, Checks: []CheckResult{}}},
		{[]Check{{"a", ok}}, 200, Health{Ready: true, Checks: []CheckResult{{Name: "a", OK: true}}}},
		{[]Check{{"a", bad}, {"b", ok}, {"c", bad}}, 503, Health{Checks: []CheckResult{
			{Name: "a", Reason: `no "answer"`}, {Name: "b", OK: true}, {Name: "c", Reason: `no "answer"`}}}},
	} {
		w := httptest.NewRecorder()
		NewChecks(time.Second, c.checks...).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		require.Equal(t, c.status, w.Code)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		var got Health
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		require.Equal(t, c.want, got)
	}
}

// TestServerThatHangsCanSaySo: a check that does not return fails in time, others
// are not touched, and it is not started again and again.
func TestServerThatHangsCanSaySo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var started atomic.Int32
		release := make(chan struct{})
		checks := NewChecks(8*time.Second,
			Check{"stuck", func(context.Context) error { started.Add(1); <-release; return nil }},
			Check{"fine", func(context.Context) error { return nil }})
		start := time.Now()
		for range 3 {
			require.Equal(t, Health{Checks: []CheckResult{
				{Name: "stuck", Reason: "no answer within 8s"}, {Name: "fine", OK: true}}}, checks.Run(t.Context()))
		}
		require.Equal(t, 24*time.Second, time.Since(start))
		require.EqualValues(t, 1, started.Load())
		close(release)
		synctest.Wait()
		require.True(t, checks.Run(t.Context()).Ready)
	})
}

// TestObservingARequestAllocatesNothing, since every READ is one.
func TestObservingARequestAllocatesNothing(t *testing.T) {
	o := New(time.Second)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		o.End(Read, o.Begin(Read), 0)
		o.ReadBytes(HeadView, 4096)
		if o.Tracing() {
			t.Error("nobody listens")
		}
	}))
}

// BenchmarkRequest is what a READ pays.
func BenchmarkRequest(b *testing.B) {
	o := New(time.Second)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			o.End(Read, o.Begin(Read), 0)
			o.ReadBytes(HeadView, 4096)
			if o.Tracing() {
				b.Error("nobody listens")
			}
		}
	})
}

// BenchmarkTracedRequest is what it pays while somebody reads the trace.
func BenchmarkTracedRequest(b *testing.B) {
	o := New(time.Second)
	listen(b, o)
	for b.Loop() {
		took := o.End(Read, o.Begin(Read), 0)
		o.Trace(Request{Op: Read, Path: "/head/bigfile/0000000000000003", Size: 4096, Done: 4096, Pid: uint32(os.Getpid()), Took: took})
	}
}
