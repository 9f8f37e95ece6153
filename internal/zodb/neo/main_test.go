package neo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestMain(m *testing.M) {
	// A library links in a logger that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// startCluster starts a cluster for as long as the test. In the end nobody may have
// complained.
func startCluster(t testing.TB, opt neotest.Options) *neotest.Cluster {
	c := neotest.New(opt)
	t.Cleanup(func() {
		c.Close()
		require.Empty(t, c.Complaints())
	})
	return c
}

func urlOf(t testing.TB, url string) storage.URL {
	u, err := storage.ParseURL(url)
	require.NoError(t, err)
	return u
}

func configOf(t testing.TB, c *neotest.Cluster) Config {
	cfg, err := Parse(urlOf(t, c.URL()))
	require.NoError(t, err)
	return cfg
}

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
	for _, line := range w.lines {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// commits collects the transactions that a session tells.
type commits struct{ tids chan zodb.Tid }

func newCommits() commits { return commits{make(chan zodb.Tid, 10_000)} }

func (c commits) put(tid zodb.Tid, _ []zodb.Oid) { c.tids <- tid }

func (c commits) next(t testing.TB) zodb.Tid {
	t.Helper()
	select {
	case tid := <-c.tids:
		return tid
	case <-time.After(time.Minute):
		t.Fatal("a commit is not told")
		return 0
	}
}

func ignore(zodb.Tid, []zodb.Oid) {}

// dialed opens a session, for as long as the test.
func dialed(t testing.TB, cfg Config, commits remote.Commits, warn func(string, ...any)) (*session, zodb.Tid) {
	t.Helper()
	s, last, err := Dial(cfg, warn)(t.Context(), commits)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s.(*session), last
}

// site is a cluster with a model of what it has, and a storage that follows it.
type site struct {
	testing.TB
	*neotest.Cluster
	rnd    *rand.Rand
	model  *storagetest.Model
	warned *warnings
	stor   *remote.Storage
	at0    zodb.Tid
}

// newSite makes a site with some transactions. change changes how the storage is opened.
func newSite(t testing.TB, opt neotest.Options, change func(cfg *Config, r *remote.Config)) *site {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := &site{TB: t, Cluster: startCluster(t, opt), rnd: rand.New(rand.NewPCG(seed, 0)), model: storagetest.NewModel(), warned: &warnings{}}
	s.commit(20)
	cfg := configOf(t, s.Cluster)
	r := remote.Config{URL: cfg.URL(), Timeout: time.Minute, Options: storage.Options{Warnf: s.warned.warn}}
	if change != nil {
		change(&cfg, &r)
	}
	r.Dial = Dial(cfg, s.warned.warn)
	var err error
	s.stor, s.at0, err = remote.Open(t.Context(), r)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.stor.Close())
		if t.Failed() {
			t.Logf("warnings:\n%s", strings.Join(s.warned.with(""), "\n"))
		}
	})
	return s
}

// commit commits n transactions of all kinds.
func (s *site) commit(n int) {
	for range n {
		s.put(s.model.RandomTxn(s.rnd, 40))
	}
}

func (s *site) put(t storagetest.Txn) {
	s.model.Commit(t)
	s.Cluster.Commit(t)
}

// write commits a transaction that changes an object, and has the storage know of it.
func (s *site) write(oid zodb.Oid, data string) zodb.Tid {
	tid := s.model.Head() + 1
	s.put(storagetest.Txn{Tid: tid, Records: []storagetest.Record{{Oid: oid, Data: []byte(data)}}})
	_, err := s.stor.Sync(s.Context())
	require.NoError(s, err)
	return tid
}

// load loads an object as of the head of the model, and compares it with the model.
func (s *site) load(oid zodb.Oid) error {
	return storagetest.CheckLoad(s.Context(), s.stor, s.model, zodb.Xid{At: s.model.Head(), Oid: oid})
}

// check reads events up to the head of the model, compares them with the model, and loads
// what they tell of.
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
			require.NoError(s, storagetest.CheckLoad(ctx, s.stor, s.model, zodb.Xid{At: ev.Tid, Oid: oid}))
		}
	}
	s.at0 = s.model.Head()
}

// reaches waits until the storage says that the cluster is up, or away.
func (s *site) reaches(up bool) storage.Reach {
	s.Helper()
	require.Eventually(s, func() bool { return s.stor.Reach().Up == up }, time.Minute, time.Millisecond)
	return s.stor.Reach()
}

// goes waits until the storage gives up, and why must be in the chain of its error.
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
		return
	}
}

// storageTxn is a transaction that changes one object.
func storageTxn(tid zodb.Tid, oid zodb.Oid, data string) storagetest.Txn {
	return storagetest.Txn{Tid: tid, Records: []storagetest.Record{{Oid: oid, Data: []byte(data)}}}
}
