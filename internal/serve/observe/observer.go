package observe

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/serve/release"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Observer is told what happens. Its methods may be called from any goroutine.
type Observer struct {
	trace    trace
	registry *prometheus.Registry

	opsMu sync.Mutex // making an opMetrics
	ops   [ops]atomic.Pointer[opMetrics]
	down  atomic.Pointer[string]

	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	inflight  *prometheus.GaugeVec
	bytes     [2]prometheus.Counter // by View

	loads         prometheus.Histogram
	commits       prometheus.Histogram
	invalidations [3]prometheus.Counter // tx, file, block
	pinTimes      prometheus.Histogram
	kills         *prometheus.CounterVec
	eio           prometheus.Gauge
	panics        prometheus.Counter
	storage       storageMetrics
}

// opMetrics is what is counted of one Op.
type opMetrics struct {
	ok       prometheus.Counter
	took     prometheus.Observer
	inflight prometheus.Gauge
}

// View is what a READ was of.
type View int

const (
	HeadView View = iota
	RevView
)

// requestBuckets reach from a READ out of memory to one that waits for a client.
var requestBuckets = []float64{10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3,
	10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60}

// New returns an Observer of a server that gives its clients pinTimeout to answer.
func New(pinTimeout time.Duration) *Observer {
	o := &Observer{registry: prometheus.NewRegistry()}
	o.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("trace_readers", "Readers of .wcfs/trace.")),
			func() float64 { return float64(o.trace.count()) }),
	)
	o.gauge("start_time_seconds", "When the server was started, seconds since 1970.").Set(float64(time.Now().UnixMilli()) / 1000)
	o.eio = o.gauge("eio_mode", "1 when the database cannot be followed any more, so that no data is served.")
	o.panics = o.counter("panics_total", "Mistakes of the server that ended it.")
	o.addRequests()
	o.addCommits()
	o.addClients(pinTimeout)
	o.storage = newStorageMetrics(o)
	return o
}

func (o *Observer) addRequests() {
	o.requests = o.counters("fuse_requests_total", "Requests of the kernel that were answered.", "op", "errno")
	o.durations = register(o, prometheus.NewHistogramVec(histogram("fuse_request_duration_seconds",
		"Time from the arrival of a request to its answer.", requestBuckets), []string{"op"}))
	o.inflight = register(o, prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("fuse_inflight",
		"Requests that are not answered yet.")), []string{"op"}))
	for _, op := range usual {
		o.op(op)
	}
	bytes := o.counters("read_bytes_total", "Data that READs of files gave.", "view")
	o.bytes = [...]prometheus.Counter{bytes.WithLabelValues("head"), bytes.WithLabelValues("rev")}
	o.loads = register(o, prometheus.NewHistogram(histogram("block_load_duration_seconds",
		"Time of loads that gave a block.", requestBuckets)))
}

func (o *Observer) addCommits() {
	kinds := o.counters("invalidations_total", "Transactions that were taken in, and the files and blocks that they changed.", "kind")
	for i, kind := range [...]string{"tx", "file", "block"} {
		o.invalidations[i] = kinds.WithLabelValues(kind)
	}
	o.commits = register(o, prometheus.NewHistogram(histogram("invalidation_duration_seconds",
		"Time from when a transaction is known to when head/ shows it.", requestBuckets)))
}

func (o *Observer) addClients(pinTimeout time.Duration) {
	o.pinTimes = register(o, prometheus.NewHistogram(histogram("pin_duration_seconds",
		"Time from sending a pin to its acknowledgement, or to the end of patience.", pinBuckets(pinTimeout))))
	o.kills = o.counters("clients_killed_total", "Clients that were ended since they may have seen wrong data.", "reason")
	for _, reason := range core.Reasons() {
		o.kills.WithLabelValues(string(reason))
	}
}

// pinBuckets makes the timeout an edge: what is beyond it was not acknowledged.
func pinBuckets(timeout time.Duration) []float64 {
	var edges []float64
	for _, edge := range requestBuckets {
		if edge < timeout.Seconds() {
			edges = append(edges, edge)
		}
	}
	return append(edges, timeout.Seconds())
}

// op returns the metrics of op, which come into being when it is first seen.
func (o *Observer) op(op Op) *opMetrics {
	if m := o.ops[op].Load(); m != nil {
		return m
	}
	o.opsMu.Lock()
	defer o.opsMu.Unlock()
	m := &opMetrics{
		ok:       o.requests.WithLabelValues(op.String(), "OK"),
		took:     o.durations.WithLabelValues(op.String()),
		inflight: o.inflight.WithLabelValues(op.String()),
	}
	o.ops[op].Store(m)
	return m
}

// Begin notes that a request has arrived, and returns when that was.
func (o *Observer) Begin(op Op) time.Time {
	o.op(op).inflight.Inc()
	return time.Now()
}

// End notes that a request is answered with errno, 0 for success, and returns
// how long that took.
func (o *Observer) End(op Op, start time.Time, errno syscall.Errno) time.Duration {
	took := time.Since(start)
	m := o.op(op)
	m.inflight.Dec()
	m.took.Observe(took.Seconds())
	if errno == 0 {
		m.ok.Inc()
	} else {
		o.requests.WithLabelValues(op.String(), errnoName(errno)).Inc()
	}
	return took
}

// ReadBytes notes that a READ gave n bytes.
func (o *Observer) ReadBytes(v View, n int) { o.bytes[v].Add(float64(n)) }

// Loaded notes how long the load of a block took.
func (o *Observer) Loaded(took time.Duration) { o.loads.Observe(took.Seconds()) }

// Committed notes that a transaction is shown by head/.
func (o *Observer) Committed(c core.Commit) {
	for i, n := range [...]int{1, c.Files, c.Blocks} {
		o.invalidations[i].Add(float64(n))
	}
	o.commits.Observe(c.Took.Seconds())
	if o.Tracing() {
		o.traceCommit(c)
	}
}

// Pinned notes the fate of a pin.
func (o *Observer) Pinned(p core.Pin) {
	o.pinTimes.Observe(p.Took.Seconds())
	if o.Tracing() {
		o.tracePin(p)
	}
}

// Killed notes the end of a client.
func (o *Observer) Killed(k core.Kill) {
	o.kills.WithLabelValues(string(k.Reason)).Inc()
	if o.Tracing() {
		o.traceKill(k)
	}
}

// Down notes that the database cannot be followed any more.
func (o *Observer) Down(err error) {
	why := err.Error()
	o.down.CompareAndSwap(nil, &why)
	o.eio.Set(1)
}

// Panicked notes a mistake of the server.
func (o *Observer) Panicked() { o.panics.Inc() }

// DownReason returns why there is no data any more, or "".
func (o *Observer) DownReason() string {
	if why := o.down.Load(); why != nil {
		return *why
	}
	return ""
}

func buildInfo() prometheus.Collector {
	b := release.Built()
	labels := prometheus.Labels{"version": release.Version, "revision": b.Commit, "goversion": b.Go}
	o := prometheus.GaugeOpts(opts("build_info", "What the server was built of."))
	o.ConstLabels = labels
	return prometheus.NewGaugeFunc(o, func() float64 { return 1 })
}

func opts(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: "wcfs", Name: name, Help: help}
}

func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Namespace: "wcfs", Name: name, Help: help, Buckets: buckets}
}

func register[C prometheus.Collector](o *Observer, c C) C {
	o.registry.MustRegister(c)
	return c
}

func (o *Observer) gauge(name, help string) prometheus.Gauge {
	return register(o, prometheus.NewGauge(prometheus.GaugeOpts(opts(name, help))))
}

func (o *Observer) counter(name, help string) prometheus.Counter {
	return register(o, prometheus.NewCounter(prometheus.CounterOpts(opts(name, help))))
}

func (o *Observer) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return register(o, prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels))
}

// timeOf returns the commit time of tid in seconds since 1970.
func timeOf(tid zodb.Tid) float64 {
	if tid == 0 {
		return 0 // an empty database
	}
	return float64(storage.TimeOf(tid).UnixMicro()) / 1e6
}
