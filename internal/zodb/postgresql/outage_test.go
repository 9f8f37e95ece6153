package postgresql

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/postgresql/pgtest"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/pythontest"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// restart ends the server, has transactions be committed that the storage cannot see yet, and
// starts it again.
func (s *site) restart(end func(testing.TB), missed int) {
	s.Helper()
	end(s)
	s.reaches(false)
	if missed > 0 {
		s.db.StartAside(s)
		s.db.Work(s.w)
		s.commit(missed)
		s.db.Stop(s)
	}
	s.db.Start(s)
	s.db.Work(s.w)
	s.reaches(true)
}

func TestWhatWasMissedInAnOutageArrivesOnceAndInOrder(t *testing.T) {
	t.Parallel()
	c := ground.New(t, pgtest.Options{})
	s := newSite(t, c, nil)
	ends := []func(testing.TB){c.Stop, c.Kill, c.Abort}
	cases := []int{0, 1, 100, 250}
	if !testing.Short() {
		cases = []int{0, 0, 0, 1, 1, 1, 100, 100, 100, 1000, 1000, 1001}
	}
	for i, missed := range cases {
		s.commit(3)
		s.check()
		s.restart(ends[i%len(ends)], missed)
		s.commit(3)
		s.check()
	}
	require.NotEmpty(t, s.warned.with(fmt.Sprintf("%d transactions were missed, and are known now", cases[len(cases)-1])))
}

// loading has loads and syncs be under way until the context ends. None of them may fail.
func (s *site) loading(ctx context.Context, g *errgroup.Group, oids []zodb.Oid) {
	for i := range 6 {
		rnd := rand.New(rand.NewPCG(s.rnd.Uint64(), 0))
		g.Go(func() error {
			for ctx.Err() == nil {
				at := s.stor.Head()
				if i == 0 {
					if head, err := s.stor.Sync(ctx); ctx.Err() == nil && (err != nil || head < at) {
						return fmt.Errorf("sync @%s: @%s, %w", at, head, err)
					}
					continue
				}
				_, serial, err := s.stor.Load(ctx, zodb.Xid{At: at, Oid: oids[rnd.IntN(len(oids))]})
				if ctx.Err() == nil && (serial > at || err != nil && !storage.IsNoData(err)) {
					return fmt.Errorf("load @%s: @%s, %w", at, serial, err)
				}
			}
			return nil
		})
	}
}

// A server ends in any way, at any moment, while there are loads, syncs and commits. None of
// them fails for it, but commits of the application, and everything that it has committed is
// told once.
func TestServersMayEndWhileTheyWork(t *testing.T) {
	t.Parallel()
	c := ground.New(t, pgtest.Options{})
	s := newSite(t, c, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var working, following errgroup.Group
	s.loading(ctx, &working, s.model.Oids())
	r := &reader{stor: s.stor}
	following.Go(func() error { return r.follow(t.Context()) })
	var committed atomic.Int64
	working.Go(func() error { return s.commitOn(ctx, s.db.WorkOrder(), &committed) })

	ends := []func(testing.TB){c.Kill, c.Stop, c.Abort}
	for i := range 6 {
		before := committed.Load()
		require.Eventually(t, func() bool { return committed.Load() > before+int64(s.rnd.IntN(30)) }, time.Minute, time.Millisecond)
		ends[i%len(ends)](t)
		c.Start(t)
	}
	s.reaches(true)
	cancel()
	require.NoError(t, working.Wait())
	s.db.Work(s.w)
	s.w.Commit(put(lastOid, "x"))
	require.NoError(t, following.Wait())
	txns, revs := contentOf(t, s.db, s.at0)
	require.Equal(t, txns, r.txns)
	require.Equal(t, revs, r.revs)
	t.Logf("%d transactions", len(txns))
}

// commitOn commits one transaction after the other, whatever happens to the server, until
// the context ends. When it is refused it begins anew.
func (s *site) commitOn(ctx context.Context, anew pythontest.Order, committed *atomic.Int64) error {
	order := pythontest.Order{Do: "commit"}
	for n := zodb.Oid(1 << 20); ctx.Err() == nil; n++ {
		order.Records = []pythontest.Entry{put(n, "x"), put(n+1<<20, "y")}
		if err := s.w.Send(order); err != nil {
			return err
		}
		_, refused, err := s.w.Answer()
		if err != nil {
			return err
		}
		if refused == "" {
			committed.Add(1)
			continue
		}
		if err := s.w.Send(anew); err != nil {
			return err
		}
		if _, _, err := s.w.Answer(); err != nil { // the server may not be there yet
			return err
		}
	}
	return nil
}

// An administrator ends all connections, again and again. Loads are made on others.
func TestConnectionsMayBeTerminated(t *testing.T) {
	t.Parallel()
	s := newSite(t, ground.Shared(t), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var g errgroup.Group
	s.loading(ctx, &g, s.model.Oids())
	times := 10
	if testing.Short() {
		times = 3
	}
	// With pg_cancel_backend statements are ended, and connections stay.
	for _, end := range []string{"pg_terminate_backend", "pg_cancel_backend"} {
		for range times {
			s.db.Query(t, "SELECT "+end+"(pid) FROM pg_stat_activity WHERE usename = 'reader' AND datname = current_database()")
			s.commit(3)
			s.check()
		}
	}
	cancel()
	require.NoError(t, g.Wait())
}

// A server that stands still is waited for; if it does so for long, it is as good as gone,
// until it goes on.
func TestServersThatStandStill(t *testing.T) {
	t.Parallel()
	c := ground.New(t, pgtest.Options{})
	usual := newSite(t, c, nil)
	impatient := newSite(t, c, func(cfg *Config, r *remote.Config) {
		cfg.silence, cfg.ConnectTimeout, r.Timeout = 500*time.Millisecond, time.Second, 200*time.Millisecond
	})
	for _, s := range []*site{usual, impatient} {
		require.NoError(t, s.load(1))
	}
	c.Pause(t)
	began := time.Now()
	loaded := make(chan error, 1)
	var g sync.WaitGroup
	defer g.Wait()
	g.Go(func() { loaded <- usual.load(1) })

	r := impatient.reaches(false)
	require.ErrorContains(t, r.Err, "does not answer any more")
	_, _, err := impatient.stor.Load(t.Context(), zodb.Xid{At: impatient.stor.Head(), Oid: 1})
	var away *storage.AwayError
	require.ErrorAs(t, err, &away)
	require.Equal(t, r.Since, away.Since)
	require.True(t, usual.stor.Reach().Up)
	require.Empty(t, loaded)
	if !testing.Short() {
		r = usual.reaches(false)
		require.ErrorContains(t, r.Err, "does not answer any more")
		took := time.Since(began)
		t.Logf("noticed after %s", took)
		require.Less(t, took, 30*time.Second) // which is what the documents promise
	}
	c.Resume()
	require.NoError(t, <-loaded)
	for _, s := range []*site{usual, impatient} {
		s.reaches(true)
		s.commit(3)
		s.check()
	}
}

func TestDatabaseThatIsNotTheSameEndsTheStorage(t *testing.T) {
	t.Parallel()
	t.Run("went back", func(t *testing.T) {
		t.Parallel()
		c := ground.New(t, pgtest.Options{})
		s := newSite(t, c, nil)
		first := s.write(1, "x")
		s.check()
		c.Stop(t)
		older := c.Save(t)
		c.Start(t)
		s.db.Work(s.w)
		s.write(1, "y")
		s.check()
		c.Stop(t)
		c.Restore(t, older)
		c.Start(t)
		var why *storage.WentBackError
		s.goesDown(&why)
		require.Equal(t, s.model.Head(), why.Head)
		require.Equal(t, first, why.Last)
	})
	t.Run("another one", func(t *testing.T) {
		long(t)
		t.Parallel()
		c := ground.New(t, pgtest.Options{})
		s := newSite(t, c, nil)
		s.write(1, "x")
		s.check()
		c.Stop(t)
		c.StartAside(t)
		other := c.CreateDatabase(t, true)
		other.Work(s.w)
		for i := range 30 {
			txn := storagetest.Txn{Tid: s.model.Head() + zodb.Tid(2+i), Records: []storagetest.Record{{Oid: 1, Data: []byte("other")}}}
			s.w.Do(orderOf(txn))
		}
		s.w.Do(pythontest.Order{Do: "work"})
		c.Query(t, "postgres", fmt.Sprintf("DROP DATABASE %s; ALTER DATABASE %s RENAME TO %[1]s", s.db.Name, other.Name))
		c.Stop(t)
		c.Start(t)
		var why *storage.AnotherDatabaseError
		s.goesDown(&why)
	})
}

// A transaction that becomes visible after a later one was left out.
func TestTransactionThatComesLateEndsTheStorage(t *testing.T) {
	t.Parallel()
	s := newSite(t, ground.Shared(t), nil)
	s.commit(3)
	s.check()
	head := s.model.Head()
	insert := func(tid zodb.Tid) {
		s.db.Query(t, fmt.Sprintf("INSERT INTO transaction (tid, packed, username, description) VALUES (%d, false, '', '')", tid))
	}
	insert(head + 10)
	ev, err := s.stor.NextEvent(t.Context())
	require.NoError(t, err)
	require.Equal(t, head+10, ev.Tid)
	insert(head + 5)
	var why *storage.HistoryLostError
	s.goesDown(&why)
	require.ErrorContains(t, why, "somebody writes without the lock of RelStorage")
}

// Repeating the question does not help if one came late.
func TestLateTransactionsAreNotWaitedFor(t *testing.T) {
	f := &follower{before: span{7, 2}, now: span{9, 1}}
	require.NoError(t, f.count(10)([][]byte{bigint(3)}))
	require.False(t, isPassing(f.count(10)([][]byte{bigint(4)})))
	require.False(t, isPassing(f.count(10)([][]byte{nil})))
}
