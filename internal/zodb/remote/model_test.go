package remote

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

var (
	modelSeed = flag.Uint64("model.seed", 0, "run the model with this seed only")
	modelRuns = flag.Int("model.runs", 100, "how many seeds to run")
)

// TestModel has everything happen at any moment: commits, sessions that end, servers
// that are away, refuse or say nothing, replies that overtake what they tell of,
// transactions told twice or late or without objects, packs, other databases, Close.
// The stream is the history after at0, loads are right or fail as they may, nothing
// hangs, and nothing is left.
func TestModel(t *testing.T) {
	n := *modelRuns
	if testing.Short() {
		n = (n + 1) / 2
	}
	for i := range n {
		seed := *modelSeed
		if seed == 0 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Logf("-model.seed=%d", seed)
			synctest.Test(t, func(t *testing.T) { newModel(t, seed).run() })
		})
		if t.Failed() || *modelSeed != 0 {
			return
		}
	}
}

// model is one run.
type model struct {
	*testing.T
	rnd *rand.Rand
	sv  *server
	s   *Storage
	at0 zodb.Tid
	ctx context.Context // its end is a hang

	// Things that happen in this run.
	packs, refuses, longOutages, closes bool
	replaces                            int // 0: never, 1: went back, 2: another database

	mu      sync.Mutex
	full    *storagetest.Model // guarded by mu; all that was ever committed
	packed  bool               // guarded by mu
	refused atomic.Int64
	away    atomic.Pointer[outage]

	events []storage.Event
	end    error // of the stream
}

type outage struct {
	until time.Time
	hangs bool
}

func newModel(t *testing.T, seed uint64) *model {
	rnd := rand.New(rand.NewPCG(seed, 0))
	sv := newServer()
	sv.late = rnd.IntN(2) == 0
	m := &model{
		T: t, rnd: rnd, sv: sv, full: storagetest.NewModel(),
		packs: rnd.IntN(3) == 0, refuses: rnd.IntN(4) == 0, longOutages: rnd.IntN(3) == 0, closes: rnd.IntN(4) == 0,
		replaces: max(0, rnd.IntN(6)-3),
	}
	if rnd.IntN(2) == 0 {
		sv.wrap = func(s *session) Session { return &batch{session: s} }
	}
	sv.delay = delays(m.fork(), time.Duration(1+rnd.IntN(100))*time.Millisecond)
	return m
}

// fork returns a source for another goroutine.
func (m *model) fork() *rand.Rand { return rand.New(rand.NewPCG(m.rnd.Uint64(), 0)) }

func (m *model) run() {
	ctx, cancel := context.WithTimeout(m.Context(), 24*time.Hour)
	defer cancel()
	m.ctx = ctx
	for range m.rnd.IntN(10) {
		m.commit(m.rnd)
	}
	m.setHooks()
	s, at0, err := Open(ctx, Config{URL: "fake://", Dial: m.sv.dial, Timeout: 20 * time.Second, Options: storage.Options{Warnf: m.Logf}})
	if err != nil {
		m.Fatal(err)
	}
	m.s, m.at0 = s, at0

	var actors, callers, consumer sync.WaitGroup
	stop := make(chan struct{})
	consumer.Go(m.consume)
	for range 3 {
		rnd := m.fork()
		callers.Go(func() { m.until(stop, func() bool { time.Sleep(ms(rnd, 100)); return m.load(rnd) }) })
	}
	syncs := m.fork()
	callers.Go(func() { m.until(stop, func() bool { time.Sleep(ms(syncs, 200)); return m.sync() }) })
	for _, act := range []func(*rand.Rand){m.commits, m.breaks, m.tellsTwice, m.packsNow} {
		rnd := m.fork()
		actors.Go(func() { act(rnd) })
	}
	if m.closes {
		time.Sleep(ms(m.rnd, 60_000))
		if err := s.Close(); err != nil {
			m.Errorf("close: %v", err)
		}
		actors.Wait()
	} else {
		actors.Wait()
		m.finish()
	}
	close(stop)
	callers.Wait()
	if !m.closes {
		s.Close()
	}
	consumer.Wait()
	m.checkStream()
}

func ms(rnd *rand.Rand, n int) time.Duration { return time.Duration(rnd.IntN(n)) * time.Millisecond }

func (m *model) until(stop chan struct{}, f func() bool) {
	for f() {
		select {
		case <-stop:
			return
		default:
		}
	}
}

// load loads random objects and checks the outcome. It reports whether to go on.
func (m *model) load(rnd *rand.Rand) bool {
	head := m.s.Head()
	xids := make([]zodb.Xid, 1+max(0, rnd.IntN(10)-5))
	m.mu.Lock()
	for i := range xids {
		xids[i] = zodb.Xid{At: head, Oid: zodb.Oid(rnd.IntN(12))}
		if txns := m.full.Txns; len(txns) > 0 && rnd.IntN(2) == 0 {
			xids[i].At = min(head, txns[rnd.IntN(len(txns))].Tid)
		}
	}
	m.mu.Unlock()
	for i, got := range storage.LoadMany(m.ctx, m.s, xids) {
		if !m.checkLoad(xids[i], got) {
			return false
		}
	}
	return true
}

func (m *model) checkLoad(xid zodb.Xid, got storage.Loaded) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, want, _ := m.full.Load(xid)
	switch {
	case got.Err == nil && (string(got.Buf.Data) != string(data) || got.Serial != want):
		m.Errorf("load %s: %q of %s; want %q of %s", xid, got.Buf.Data, got.Serial, data, want)
	case got.Err == nil:
		got.Buf.Release()
	case storage.IsNoData(got.Err):
		if data != nil && !m.packed {
			m.Errorf("load %s: %v; want %q of %s", xid, got.Err, data, want)
		}
	default:
		return m.mayFail(got.Err, m.longOutages || m.refuses)
	}
	return true
}

// mayFail checks an error that says that nothing works now, and reports whether it may
// work later.
func (m *model) mayFail(err error, awayToo bool) bool {
	var away *storage.AwayError
	var down *storage.DownError
	switch {
	case errors.As(err, &away):
		if !awayToo {
			m.Errorf("gave up too early: %v", err)
		}
		return true
	case errors.As(err, &down), errors.Is(err, storage.ErrClosed) && m.closes:
		return false
	}
	m.Errorf("failed as it must not: %v", err)
	return false
}

func (m *model) sync() bool {
	m.sv.mu.Lock()
	want := m.sv.last
	m.sv.mu.Unlock()
	head, err := m.s.Sync(m.ctx)
	if err != nil {
		return m.mayFail(err, true)
	}
	if head < want || m.s.Head() < head {
		m.Errorf("sync: %s, head %s; want %s", head, m.s.Head(), want)
	}
	return true
}

// finish has the storage take in everything, or find out that it must not.
func (m *model) finish() {
	m.away.Store(nil)
	for m.sync() && m.s.Head() < m.full.Head() {
	}
	if m.replaces == 0 || m.s.Head() < 5 {
		return
	}
	// Transactions that have changed nothing may be lost.
	for m.replaces == 1 && len(m.full.Txns[len(m.full.Txns)-1].Records) == 0 {
		m.commit(m.rnd)
	}
	for m.sync() && m.s.Head() < m.full.Head() {
	}
	db := storagetest.NewModel()
	for _, t := range m.full.Txns[:len(m.full.Txns)-1] {
		if m.replaces == 2 { // its tids and its records are others
			t.Tid += 0x123456789
		}
		db.Commit(t)
	}
	if m.replaces == 2 {
		db.Commit(storagetest.Txn{Tid: m.full.Head() + 0x123456789})
	}
	m.sv.replace(db, db.Head())
	for m.sync() {
	}
}

func (m *model) consume() {
	for {
		ev, err := m.s.NextEvent(m.ctx)
		if err != nil {
			m.end = err
			return
		}
		if m.s.Head() < ev.Tid {
			m.Errorf("event @%s, and head is @%s", ev.Tid, m.s.Head())
		}
		m.events = append(m.events, ev)
	}
}

func (m *model) checkStream() {
	m.checkEnd()
	left := make(map[zodb.Tid][]zodb.Oid) // what packs have left
	kept := m.full
	if m.packed && m.replaces == 0 {
		kept = m.sv.db
	}
	for _, t := range kept.Txns {
		left[t.Tid] = t.Oids()
	}
	events := m.events
	for _, t := range m.full.Txns {
		if t.Tid <= m.at0 || t.Tid > m.s.Head() {
			continue
		}
		least, there := left[t.Tid]
		switch {
		case len(events) == 0 || events[0].Tid > t.Tid:
			if there && len(least) > 0 && !(m.packed && m.replaces != 0) {
				m.Fatalf("nothing was told of @%s", t.Tid)
			}
			continue
		case events[0].Tid < t.Tid:
			m.Fatalf("@%s was told, which is not next", events[0].Tid)
		}
		got := events[0].Oids
		events = events[1:]
		if !m.packed && fmt.Sprint(got) != fmt.Sprint(t.Oids()) {
			m.Fatalf("@%s: %v; want %v", t.Tid, got, t.Oids())
		}
		for _, oid := range least {
			if kept != m.full && !slices.Contains(got, oid) {
				m.Fatalf("@%s: %v; want at least %v", t.Tid, got, least)
			}
		}
	}
	if len(events) > 0 {
		m.Fatalf("@%s was told, which never was", events[0].Tid)
	}
}

// checkEnd checks how the stream ended, and how far it came.
func (m *model) checkEnd() {
	var lost *storage.HistoryLostError
	var back *storage.WentBackError
	var another *storage.AnotherDatabaseError
	switch {
	case errors.As(m.end, &lost):
		if m.refused.Load() < maxRefused {
			m.Errorf("ended by %v", m.end)
		}
	case errors.As(m.end, &another) && m.packed: // nothing may be left to tell by
	case m.closes:
		if m.end != io.EOF {
			m.Errorf("ended by %v", m.end)
		}
	case m.s.Head() != m.full.Head():
		m.Errorf("head is @%s, ended by %v; want @%s", m.s.Head(), m.end, m.full.Head())
	case m.replaces == 1 && errors.As(m.end, &back):
	case m.replaces == 2 && errors.As(m.end, &another):
	case m.replaces == 0 && m.end == io.EOF:
	default:
		m.Errorf("ended by %v", m.end)
	}
}
