package postgresql

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/postgresql/pgtest"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/pythontest"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// ground is where the servers of all tests are.
var ground pgtest.Ground

func TestMain(m *testing.M) {
	// A library links in a logger that never ends.
	goleak.VerifyTestMain(ground.Around(m), goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// long skips a test if tests are to be short, and others show most of the same.
func long(t testing.TB) {
	if testing.Short() {
		t.Skip("it takes long")
	}
}

func urlOf(t testing.TB, url string) storage.URL {
	t.Helper()
	u, err := storage.ParseURL(url)
	require.NoError(t, err)
	return u
}

func configOf(t testing.TB, url string) Config {
	t.Helper()
	cfg, err := Parse(urlOf(t, url))
	require.NoError(t, err)
	return cfg
}

func put(oid zodb.Oid, data string) pythontest.Entry { return pythontest.Put(oid, data) }

// warnings collects what is told.
type warnings struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (w *warnings) warn(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

// with returns the lines that have a text.
func (w *warnings) with(text string) (lines []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.lines), func(line string) bool { return !strings.Contains(line, text) })
}

// storable returns what a database can have of a transaction: oids are below 2^63 there.
func storable(txn storagetest.Txn) storagetest.Txn {
	txn.Records = slices.DeleteFunc(slices.Clone(txn.Records), func(r storagetest.Record) bool { return r.Oid > maxID })
	return txn
}

// orderOf returns the order to commit a transaction of a model with its tid.
func orderOf(txn storagetest.Txn) pythontest.Order { return pythontest.CopyOf(storable(txn)) }

// site is a database with an application that commits to it, a model of what it has, and a
// storage that follows.
type site struct {
	testing.TB
	db     *pgtest.Database
	w      *pythontest.Writer
	rnd    *rand.Rand
	model  *storagetest.Model
	warned *warnings
	stor   *remote.Storage
	at0    zodb.Tid
}

// newSite makes a site with some transactions in a cluster. change changes how the storage
// is opened.
func newSite(t testing.TB, c *pgtest.Cluster, change func(cfg *Config, r *remote.Config)) *site {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := c.CreateDatabase(t, true)
	s := &site{TB: t, db: d, w: d.Writer(t), rnd: rand.New(rand.NewPCG(seed, 0)), model: storagetest.NewModel(), warned: &warnings{}}
	s.commit(20)
	s.open(d, change)
	return s
}

// open opens the database anew, maybe at a standby. The storage before stays open.
func (s *site) open(d *pgtest.Database, change func(cfg *Config, r *remote.Config)) {
	s.Helper()
	cfg := configOf(s, d.URL())
	r := remote.Config{URL: cfg.URL(), Timeout: time.Minute, Options: storage.Options{Warnf: s.warned.warn}}
	if change != nil {
		change(&cfg, &r)
	}
	r.Dial = Dial(cfg)
	stor, at0, err := remote.Open(s.Context(), r)
	require.NoError(s, err)
	s.stor, s.at0 = stor, at0
	s.Cleanup(func() {
		require.NoError(s, stor.Close())
		if s.Failed() {
			s.Logf("warnings:\n%s", strings.Join(s.warned.with(""), "\n"))
		}
	})
}

// put commits a transaction.
func (s *site) put(txn storagetest.Txn) {
	s.Helper()
	txn = storable(txn)
	require.Equal(s, txn.Tid, s.w.Do(orderOf(txn)))
	s.model.Commit(txn)
}

// commit commits n transactions of all kinds.
func (s *site) commit(n int) {
	s.Helper()
	for range n {
		s.put(s.model.RandomTxn(s.rnd, 40))
	}
}

// write commits a transaction that changes one object.
func (s *site) write(oid zodb.Oid, data string) zodb.Tid {
	s.Helper()
	tid := s.model.Head() + 1
	s.put(storagetest.Txn{Tid: tid, Records: []storagetest.Record{{Oid: oid, Data: []byte(data)}}})
	return tid
}

// load loads an object as of the head of the storage, and compares it with the model.
func (s *site) load(oid zodb.Oid) error {
	return storagetest.CheckLoad(s.Context(), s.stor, s.model, zodb.Xid{At: s.stor.Head(), Oid: oid})
}

// check reads events up to the head of the model, compares them with the model, and loads
// what they tell of, before and after.
func (s *site) check() {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	for i := range s.model.Txns {
		want := &s.model.Txns[i]
		if want.Tid <= s.at0 {
			continue
		}
		ev, err := s.stor.NextEvent(ctx)
		require.NoError(s, err)
		require.Equal(s, want.Tid, ev.Tid)
		require.Equal(s, fmt.Sprint(want.Oids()), fmt.Sprint(ev.Oids))
		for _, oid := range ev.Oids {
			for _, at := range []zodb.Tid{ev.Tid - 1, ev.Tid} {
				// The head of the model is that of the storage only in the end.
				require.NoError(s, storagetest.CheckLoad(ctx, s.stor, s.model, zodb.Xid{At: at, Oid: oid}))
			}
		}
	}
	s.at0 = s.model.Head()
}

// reaches waits until the storage says that the server is up, or away.
func (s *site) reaches(up bool) storage.Reach {
	s.Helper()
	require.Eventually(s, func() bool { return s.stor.Reach().Up == up }, time.Minute, time.Millisecond)
	return s.stor.Reach()
}

// goesDown waits until the storage gives up, and why must be in the chain of its error.
func (s *site) goesDown(why any) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	for {
		_, err := s.stor.NextEvent(ctx)
		if err == nil {
			continue
		}
		var down *storage.DownError
		require.ErrorAs(s, err, &down)
		require.ErrorAs(s, err, why)
		_, _, err = s.stor.Load(ctx, zodb.Xid{At: s.stor.Head(), Oid: 0})
		require.ErrorAs(s, err, &down)
		require.False(s, s.stor.Reach().Up)
		return
	}
}
