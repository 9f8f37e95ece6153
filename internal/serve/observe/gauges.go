package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/isolation"
	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// State is how the parts of a server are doing when somebody looks.
type State struct {
	Newest  zodb.Tid // view that the database can be read at; asked first, since At of Head only grows
	Head    live.Stats
	Clients isolation.Stats
	Loads   bigfile.LoaderStats
	Views   int           // @<tid> directories
	Queue   int           // transactions that wait; -1: not known
	Reach   storage.Reach // of the server of the database; up if there is none
}

// Lag returns for how long the database has had a transaction that head/ does not
// show. Clocks may differ: it is never negative.
func (s State) Lag(now time.Time) time.Duration { return lag(s.Head, s.Newest, now) }

func lag(h live.Stats, newest zodb.Tid, now time.Time) time.Duration {
	behind := h.Pending
	if behind == 0 && newest > h.At {
		behind = newest
	}
	if behind == 0 {
		return 0
	}
	return max(0, now.Sub(storage.TimeOf(behind)))
}

// Watch makes what look tells part of the metrics.
func (o *Observer) Watch(look func() State) { o.registry.MustRegister(newGauges(look)) }

// gauges turns State into metrics.
type gauges struct {
	look func() State
	of   map[string]*prometheus.Desc
}

// node labels what concerns a node of a cluster.
var node = []string{"role", "node", "address"}

// The gauges of head, and so on: a name, its help, and its labels.
var gaugeHelp = [...]struct {
	name, help string
	labels     []string
}{
	{"head_tid", "Commit time of the newest view, seconds since 1970.", nil},
	{"head_lag_seconds", "Age of the oldest transaction that head/ does not show, 0 if it shows all.", nil},
	{"head_reads", "READs of head/ without a reply yet.", nil},
	{"head_reads_waiting", "READs of head/ that wait for a client.", nil},
	{"bigfiles", "Files known below head/bigfile.", nil},
	{"revisions", "Directories @tid.", nil},
	{"served_blocks", "Blocks that the page cache may have.", nil},
	{"tracked_objects", "Objects whose changes are looked for.", []string{"kind"}},
	{"evictions_total", "Blocks dropped from the page cache since there were too many.", nil},
	{"preserved_bytes", "Old content in memory for clients before the last commit.", nil},
	{"tail_entries", "Transactions that are remembered.", nil},
	{"tail_coverage_seconds", "How far the remembered transactions reach back from the newest view.", nil},
	{"zodb_cache_hits_total", "Nodes of block tables that were in memory.", nil},
	{"zodb_cache_misses_total", "Nodes of block tables that were not in memory.", nil},
	{"zodb_cache_bytes", "Memory of the cached nodes of block tables.", nil},
	{"zwatch_queue_depth", "Transactions that wait to be taken in.", nil},
	{"storage_up", "Whether the server of the database is connected: 1 or 0.", nil},
	{"storage_disconnected_seconds", "For how long it is not, 0 if it is.", nil},
	{"storage_reconnects_total", "Connections to it that were made after the first one.", nil},
	{"storage_node_connected", "Whether a node of its cluster is connected: 1 or 0.", node},
	{"storage_node_partitions", "Partitions of the database that can be read from a node.", node},
	{"storage_node_answers_total", "Answers of a node since the cluster was connected.", node},
	{"watchlinks", "Opens of head/watch.", nil},
	{"watches", "Watches that clients have set up.", nil},
	{"pinned_blocks", "Blocks that clients have pinned to past views.", nil},
	{"pins_total", "Pins that were sent to clients.", nil},
	{"block_loads_total", "Blocks that requests got.", []string{"source"}},
	{"block_load_errors_total", "Loads of blocks that failed.", nil},
	{"pagecache_store_errors_total", "Rests of blocks that the page cache did not take.", nil},
}

func newGauges(look func() State) *gauges {
	g := &gauges{look: look, of: make(map[string]*prometheus.Desc)}
	for _, m := range gaugeHelp {
		g.of[m.name] = prometheus.NewDesc("wcfs_"+m.name, m.help, m.labels, nil)
	}
	return g
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range g.of {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	gauge := func(name string, value float64, label ...string) {
		out <- prometheus.MustNewConstMetric(g.of[name], prometheus.GaugeValue, value, label...)
	}
	counter := func(name string, value uint64, label ...string) {
		out <- prometheus.MustNewConstMetric(g.of[name], prometheus.CounterValue, float64(value), label...)
	}
	s := g.look()
	collectHead(s, gauge, counter)
	gauge("watchlinks", float64(s.Clients.WatchLink))
	gauge("watches", float64(s.Clients.Watch))
	gauge("pinned_blocks", float64(s.Clients.PinnedBlk))
	counter("pins_total", s.Clients.Pin)
	for from, source := range [...]string{"zodb", "preserved", "inflight", "retained"} {
		counter("block_loads_total", s.Loads.Blocks[from], source)
	}
	counter("block_load_errors_total", s.Loads.Failed)
	counter("pagecache_store_errors_total", s.Loads.StoreErrors)
	gauge("revisions", float64(s.Views))
	collectReach(s.Reach, gauge, counter)
	if s.Queue >= 0 {
		gauge("zwatch_queue_depth", float64(s.Queue))
	}
}

func collectHead(s State, gauge func(string, float64, ...string), counter func(string, uint64, ...string)) {
	h := s.Head
	gauge("head_tid", timeOf(h.At))
	gauge("head_lag_seconds", s.Lag(time.Now()).Seconds())
	gauge("head_reads", float64(h.Reads))
	gauge("head_reads_waiting", float64(h.Waiting))
	gauge("bigfiles", float64(h.Files))
	gauge("served_blocks", float64(h.Served))
	gauge("tracked_objects", float64(h.Nodes), "node")
	gauge("tracked_objects", float64(h.ZBlks), "block")
	counter("evictions_total", h.Evicted)
	gauge("preserved_bytes", float64(h.Preserved))
	gauge("tail_entries", float64(h.History))
	gauge("tail_coverage_seconds", max(0, timeOf(h.At)-timeOf(h.HistoryBegin)))
	counter("zodb_cache_hits_total", h.Cache.Hits)
	counter("zodb_cache_misses_total", h.Cache.Misses)
	gauge("zodb_cache_bytes", float64(h.Cache.Bytes))
}

func collectReach(r storage.Reach, gauge func(string, float64, ...string), counter func(string, uint64, ...string)) {
	up, away := 1.0, 0.0
	if !r.Up {
		up, away = 0, time.Since(r.Since).Seconds()
	}
	gauge("storage_up", up)
	gauge("storage_disconnected_seconds", away)
	counter("storage_reconnects_total", r.Reconnects)
	for _, n := range r.Nodes {
		label := []string{n.Role, n.Name, n.Address}
		connected := 0.0
		if n.Connected {
			connected = 1
		}
		gauge("storage_node_connected", connected, label...)
		if n.Role == storage.RoleStorage {
			gauge("storage_node_partitions", float64(n.Parts), label...)
			counter("storage_node_answers_total", n.Answers, label...)
		}
	}
}
