package zeo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// site is a database that is served, with an application that commits and a storage that
// follows, through outages.
type site struct {
	*testing.T
	srv   *server
	w     *writer
	rnd   *rand.Rand
	model *storagetest.Model
	stor  storage.Storage
	at0   zodb.Tid

	got []storage.Event // in order
}

func newSite(t *testing.T, srv *server) *site {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := &site{T: t, srv: srv, w: srv.writer(), rnd: rand.New(rand.NewPCG(seed, 0)), model: storagetest.NewModel()}
	s.commit(20)
	s.stor, s.at0 = s.open(storage.Options{Warnf: t.Logf})
	return s
}

// open opens the database for as long as the test.
func (s *site) open(opt storage.Options) (storage.Storage, zodb.Tid) {
	stor, at0, err := Open(s.Context(), s.srv.url(s), opt)
	require.NoError(s, err)
	s.Cleanup(func() { require.NoError(s, stor.Close()) })
	return stor, at0
}

// commit commits n transactions of all kinds; some undo the one before, where ZODB can.
func (s *site) commit(n int) {
	s.Helper()
	for range n {
		if len(s.model.Txns) > 0 && s.rnd.IntN(6) == 0 {
			if txn, ok := s.w.undoTxn(s.model, s.model.NextTid(s.rnd)); ok {
				s.model.Commit(txn)
				continue
			}
		}
		txn := s.model.RandomTxn(s.rnd, 40)
		s.w.CommitTxn(txn)
		s.model.Commit(txn)
	}
}

// stop has the server be killed while nobody commits.
func (s *site) stop() {
	s.w.idle()
	s.srv.kill()
}

// restart starts the server after n more transactions were committed to its file.
func (s *site) restart(n int) {
	s.Helper()
	s.w.offline(s.srv)
	s.commit(n)
	s.w.idle()
	s.srv.start()
	s.w.online(s.srv)
}

// next reads events up to the transaction.
func (s *site) next(last zodb.Tid) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	for len(s.got) == 0 || s.got[len(s.got)-1].Tid < last {
		ev, err := s.stor.NextEvent(ctx)
		require.NoError(s, err)
		ev.More = false // the file does not tell
		s.got = append(s.got, ev)
	}
}

// check compares all that was told, and what it leads to, with the file of the server as
// it is read without the server.
func (s *site) check() {
	s.Helper()
	u, err := storage.ParseURL("file://" + s.srv.file())
	require.NoError(s, err)
	file, head, err := fs1.Open(s.Context(), u, storage.Options{})
	require.NoError(s, err)
	defer file.Close()
	if len(s.model.Txns) > 0 && head > s.at0 {
		s.next(head)
	}
	require.Equal(s, head, s.stor.Head())
	var want []storage.Event
	require.NoError(s, file.(storage.Iterator).Iterate(s.Context(), s.at0+1, head, func(t *storage.Txn) error {
		want = append(want, storage.Event{Tid: t.Tid, Oids: slices.Clone(t.Oids)})
		return nil
	}))
	s.got = slices.DeleteFunc(s.got, func(ev storage.Event) bool {
		return len(ev.Oids) == 0 && !slices.ContainsFunc(want, func(w storage.Event) bool { return w.Tid == ev.Tid })
	}) // which TestTransactionsThatWereNeverFinishedAreNoLoss is about
	require.Equal(s, fmt.Sprint(want), fmt.Sprint(s.got))
	var g errgroup.Group
	g.SetLimit(16)
	for _, ev := range s.got {
		g.Go(func() error { return s.compare(file, ev) })
	}
	require.NoError(s, g.Wait())
	// The next check is about what comes from here on.
	s.at0, s.got = head, nil
}

// compare loads what a transaction has changed, from both, before and after it.
func (s *site) compare(file storage.Loader, ev storage.Event) error {
	for _, oid := range ev.Oids {
		for _, at := range []zodb.Tid{ev.Tid - 1, ev.Tid} {
			xid := zodb.Xid{At: at, Oid: oid}
			want, wantSerial, wantErr := file.Load(s.Context(), xid)
			got, serial, err := s.stor.Load(s.Context(), xid)
			switch {
			case storage.IsNoData(wantErr) && storage.IsNoData(err):
			case wantErr != nil || err != nil:
				return fmt.Errorf("load %s: %v; without the server: %w", xid, err, wantErr)
			case serial != wantSerial || string(got.Data) != string(want.Data):
				return fmt.Errorf("load %s: %d bytes of @%s; want %d of @%s", xid, len(got.Data), serial, len(want.Data), wantSerial)
			}
		}
	}
	return nil
}

// reaches waits until the storage tells that the server is up, or away.
func (s *site) reaches(up bool) storage.Reach {
	s.Helper()
	var r storage.Reach
	require.Eventually(s, func() bool {
		r = s.stor.(storage.Reachable).Reach()
		return r.Up == up
	}, time.Minute, time.Millisecond)
	require.Equal(s, up, r.Err == nil, "%v", r.Err)
	return r
}

// down waits until the storage gives up for a reason.
func (s *site) down(why any) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	_, err := s.stor.NextEvent(ctx)
	var down *storage.DownError
	require.ErrorAs(s, err, &down)
	require.ErrorAs(s, err, why)
	_, _, err = s.stor.Load(ctx, zodb.Xid{At: s.stor.Head(), Oid: 0})
	require.ErrorAs(s, err, &down)
	require.False(s, s.stor.(storage.Reachable).Reach().Up)
	s.Logf("%s", down)
}

// More than 100 transactions are more than a server remembers the changes of.
func TestWhatWasMissedInAnOutageArrivesOnceAndInOrder(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		s := newSite(t, srv)
		for _, missed := range []int{0, 1, 99, 101, 1000} {
			s.commit(3)
			s.stop()
			s.reaches(false)
			s.restart(missed)
			s.reaches(true)
			s.commit(3)
			s.check()
		}
	})
}

// A server is killed at any moment while there are loads, syncs and commits. None of them
// fails for it, but commits of the application.
func TestServersMayBeKilledWhileTheyWork(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		s := newSite(t, srv)
		s.w.idle()
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		known := s.model.Oids()
		for i := range 6 {
			rnd := rand.New(rand.NewPCG(s.rnd.Uint64(), 0))
			g.Go(func() {
				for ctx.Err() == nil {
					at := s.stor.Head()
					if i == 0 {
						head, err := s.stor.Sync(ctx)
						if ctx.Err() == nil && (err != nil || head < at) {
							t.Errorf("sync: @%s, %v", head, err)
							return
						}
						continue
					}
					_, serial, err := s.stor.Load(ctx, zodb.Xid{At: at, Oid: known[rnd.IntN(len(known))]})
					if ctx.Err() == nil && (serial > at || err != nil && !storage.IsNoData(err)) {
						t.Errorf("load at @%s: @%s, %v", at, serial, err)
						return
					}
				}
			})
		}
		for range 5 {
			s.kill(time.Duration(s.rnd.IntN(30)) * time.Millisecond)
		}
		s.reaches(true)
		cancel()
		g.Wait()
		s.w.online(srv)
		s.w.Commit(put(1<<62, "the last one"))
		s.check()
	})
}

// kill kills the server while a writer commits one transaction after the other, and that
// with it, since it would wait for the server.
func (s *site) kill(after time.Duration) {
	s.Helper()
	w := s.srv.writer()
	committed := make(chan int)
	first := uint64(1000 + s.rnd.IntN(1<<60))
	go func() {
		n := 0
		for w.Send(order{Do: "commit", Records: []entry{put(zodb.Oid(first+uint64(n)), "x")}}) == nil {
			if _, _, err := w.Answer(); err != nil {
				break
			}
			n++
		}
		committed <- n
	}()
	time.Sleep(after)
	s.srv.kill()
	w.Kill()
	s.Logf("%d commits", <-committed)
	s.srv.start()
}

// A server that was killed while it wrote a transaction cuts that off when it starts, and
// names it as its last one all the same; but not when it starts once more.
func TestTransactionsThatWereNeverFinishedAreNoLoss(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		s := newSite(t, srv)
		s.stop()
		s.reaches(false)
		txn := s.model.RandomTxn(s.rnd, 40)
		other := storagetest.NewFSWriter(filepath.Join(t.TempDir(), "other.fs"))
		defer other.Close()
		f, err := os.OpenFile(srv.file(), os.O_WRONLY|os.O_APPEND, 0)
		require.NoError(t, err)
		_, err = f.Write(other.Encode(txn, 'c'))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		srv.start()
		s.next(txn.Tid) // applications have this view
		require.Equal(t, []storage.Event{{Tid: txn.Tid}}, s.got)
		s.reaches(true)
		for range 2 {
			srv.kill()
			s.reaches(false)
			srv.start()
			s.reaches(true)
		}
		require.Equal(t, txn.Tid, s.stor.Head())
		s.w.online(srv)
		s.w.Commit(put(1<<62, "the next one"))
		s.check()
	})
}

func TestDatabasesThatWentBackAreRefused(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		s := newSite(t, srv)
		s.stop()
		older, err := os.ReadFile(srv.file())
		require.NoError(t, err)
		s.restart(2)
		s.next(s.w.Commit(put(1<<62, "what matters"))) // the two may have changed nothing
		s.stop()
		require.NoError(t, os.WriteFile(srv.file(), older, 0o666))
		os.Remove(srv.file() + ".index")
		srv.start()
		s.down(new(*storage.WentBackError))
	})
}

func TestOtherDatabasesAreRefused(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		s := newSite(t, srv)
		s.commit(1)
		s.check()
		s.stop()
		other := storagetest.NewFSWriter(filepath.Join(t.TempDir(), "other.fs"))
		model := storagetest.NewModel()
		for model.Head() <= s.model.Head() {
			txn := model.RandomTxn(s.rnd, 40)
			other.Commit(txn)
			model.Commit(txn)
		}
		other.Close()
		require.NoError(t, os.Rename(other.Path, srv.file()))
		os.Remove(srv.file() + ".index")
		srv.start()
		s.down(new(*storage.AnotherDatabaseError))
	})
}

func TestFollowingGoesOnAfterAPackInAnOutage(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		s := newSite(t, srv)
		root := "\x80\x03cpersistent.mapping\nPersistentMapping\nq\x00.\x80\x03}q\x01."
		kept := s.w.Commit(put(0, root))
		s.next(kept)
		s.got, s.at0 = nil, kept
		// A pack takes the last transaction that was told away, for it is empty.
		s.next(s.w.Commit())
		s.got, s.at0 = nil, s.stor.Head()
		_, _, err := s.stor.Load(t.Context(), zodb.Xid{At: kept, Oid: 0}) // by which it is known again
		require.NoError(t, err)
		s.stop()
		s.reaches(false)
		s.w.offline(srv)
		s.w.Do(order{Do: "pack"})
		next := s.w.Commit(put(0, root), put(7, root))
		s.w.idle()
		srv.start()
		s.next(next)
		s.w.online(srv)
		s.w.Commit(remove(7))
		s.check()
		s.reaches(true)
	})
}
