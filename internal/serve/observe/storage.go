package observe

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// storageMetrics is what is counted of calls of the database.
type storageMetrics struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

func newStorageMetrics(o *Observer) storageMetrics {
	return storageMetrics{
		requests: o.counters("storage_requests_total", "Calls of the database.", "driver", "op", "result"),
		took: register(o, prometheus.NewHistogramVec(histogram("storage_request_duration_seconds",
			"Time of calls of the database.", requestBuckets), []string{"driver", "op"})),
	}
}

// call is one kind of call of one driver.
type call struct {
	ok, noData, failed prometheus.Counter
	took               prometheus.Observer
}

func (m *storageMetrics) call(driver, op string) call {
	return call{
		ok:     m.requests.WithLabelValues(driver, op, "ok"),
		noData: m.requests.WithLabelValues(driver, op, "no_data"),
		failed: m.requests.WithLabelValues(driver, op, "error"),
		took:   m.took.WithLabelValues(driver, op),
	}
}

func (c *call) end(start time.Time, err error) {
	c.took.Observe(time.Since(start).Seconds())
	c.count(err)
}

func (c *call) count(err error) {
	switch {
	case err == nil:
		c.ok.Inc()
	case storage.IsNoData(err):
		c.noData.Inc()
	default:
		c.failed.Inc()
	}
}

// Storage returns s with its loads counted, under the name of its driver.
func (o *Observer) Storage(driver string, s storage.Storage) storage.Storage {
	m := &measured{s, o.storage.call(driver, "load")}
	if serialer, ok := s.(storage.Serialer); ok {
		return &measuredSerialer{m, serialer, o.storage.call(driver, "serial")}
	}
	return m
}

// measured is a storage that is measured.
type measured struct {
	storage.Storage
	load call
}

func (m *measured) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	start := time.Now()
	buf, serial, err := m.Storage.Load(ctx, xid)
	m.load.end(start, err)
	return buf, serial, err
}

// LoadsMany says whether the storage can load many objects at once: see storage.Many.
func (m *measured) LoadsMany() bool {
	_, ok := storage.Many(m.Storage)
	return ok
}

// LoadMany implements storage.ManyLoader. Each object counts, but all of them have taken the
// time together.
func (m *measured) LoadMany(ctx context.Context, xids []zodb.Xid) []storage.Loaded {
	start := time.Now()
	all := storage.LoadMany(ctx, m.Storage, xids)
	m.load.took.Observe(time.Since(start).Seconds())
	for _, got := range all {
		m.load.count(got.Err)
	}
	return all
}

var _ storage.Packed = (*measured)(nil)

// Packs implements storage.Packed, also for storages that are never packed.
func (m *measured) Packs() (complete, newest zodb.Tid) {
	if packed, ok := m.Storage.(storage.Packed); ok {
		return packed.Packs()
	}
	return 0, 0
}

// Keep implements storage.Packed.
func (m *measured) Keep(from zodb.Tid) {
	if packed, ok := m.Storage.(storage.Packed); ok {
		packed.Keep(from)
	}
}

// measuredSerialer is a measured storage that can tell serials.
type measuredSerialer struct {
	*measured
	serialer storage.Serialer
	serial   call
}

func (m *measuredSerialer) Serial(ctx context.Context, xid zodb.Xid) (zodb.Tid, error) {
	start := time.Now()
	serial, err := m.serialer.Serial(ctx, xid)
	m.serial.end(start, err)
	return serial, err
}
