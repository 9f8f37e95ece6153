package zeo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestMain(m *testing.M) {
	// A library links in a logger that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		goleak.Cleanup(func(code int) {
			running.End()
			os.Exit(code)
		}))
}

func TestServerAnswersLikeTheModel(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd, model := rand.New(rand.NewPCG(seed, 0)), storagetest.NewModel()
		w := srv.writer()
		told := newTold()
		s, last := dial(t, srv.config(), told.put)
		require.Zero(t, last)
		for range 60 {
			txn := model.RandomTxn(rnd, 30)
			w.CommitTxn(txn)
			model.Commit(txn)
			require.Equal(t, txn.Tid, told.next(t).tid)
		}
		last, err := s.Last(t.Context())
		require.NoError(t, err)
		require.Equal(t, model.Head(), last)
		checkLoads(t, s, model)
		checkTransactions(t, s, model, rnd)
		requireNoComplaint(t, srv)
	})
}

// requireNoComplaint checks that nothing was asked of the server that is wrong.
func requireNoComplaint(t *testing.T, srv *server) {
	t.Helper()
	for _, text := range strings.Split(srv.log(), " ERROR ")[1:] {
		// A restored record of a transaction that has two of the object has data of its own.
		if !strings.Contains(text, "Mismatch between data and backpointer") {
			t.Fatalf("the server complains: %.2000s", text)
		}
	}
}

// checkLoads loads every object at every view, with many loads under way.
func checkLoads(t *testing.T, s storage.Loader, m *storagetest.Model) {
	var group errgroup.Group
	group.SetLimit(64)
	for _, oid := range append(m.Oids(), 41, zodb.InvalidOid-1) {
		for i, txn := range m.Txns {
			for _, at := range []zodb.Tid{0, 1, txn.Tid - 1, txn.Tid, txn.Tid + 1} {
				if at > m.Head() || i%3 != int(oid%3) {
					continue
				}
				group.Go(func() error {
					return storagetest.CheckLoad(t.Context(), s, m, zodb.Xid{At: at, Oid: oid})
				})
			}
		}
	}
	require.NoError(t, group.Wait())
	for _, at := range []zodb.Tid{zodb.TidMax, zodb.InvalidTid} { // clamped
		oid := m.Txns[len(m.Txns)-1].Oids()
		if len(oid) == 0 {
			continue
		}
		_, serial, err := s.Load(t.Context(), zodb.Xid{At: at, Oid: oid[0]})
		require.True(t, serial == m.Head() || storage.IsNoData(err), "%s %v", serial, err)
	}
}

func checkTransactions(t *testing.T, s interface {
	Transactions(context.Context, zodb.Tid, zodb.Tid, func(*storage.Txn) error) error
}, m *storagetest.Model, rnd *rand.Rand) {
	show := func(tid zodb.Tid, user, description []byte, oids []zodb.Oid) string {
		return fmt.Sprintf("%s %q %q %v", tid, user, description, oids)
	}
	bounds := []zodb.Tid{0, 1, m.Head(), m.Head() + 1, zodb.TidMax, zodb.InvalidTid}
	for range 8 {
		bounds = append(bounds, m.Txns[rnd.IntN(len(m.Txns))].Tid+zodb.Tid(rnd.IntN(3)-1))
	}
	for _, from := range bounds {
		for _, to := range bounds {
			var want, got []string
			for _, txn := range m.Txns {
				if from <= txn.Tid && txn.Tid <= to {
					want = append(want, show(txn.Tid, txn.User, txn.Description, txn.Oids()))
				}
			}
			err := s.Transactions(t.Context(), from, to, func(txn *storage.Txn) error {
				got = append(got, show(txn.Tid, txn.User, txn.Description, txn.Oids))
				return nil
			})
			require.NoError(t, err, "from %s to %s", from, to)
			require.Equal(t, want, got, "from %s to %s", from, to)
		}
	}
}

// The driver asks which objects a commit has changed: the list that comes with it
// lacks the deleted ones.
func TestServerTellsCommits(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		w := srv.writer()
		told := newTold()
		s, _ := dial(t, srv.config(), told.put)
		expect := func(tid zodb.Tid, oids ...zodb.Oid) {
			t.Helper()
			require.Equal(t, commit{tid, nil}, told.next(t))
			var got []zodb.Oid
			require.NoError(t, s.Transactions(t.Context(), tid, tid, func(txn *storage.Txn) error {
				got = append(got, txn.Oids...)
				return nil
			}))
			require.Equal(t, oids, got)
		}
		expect(w.Commit(put(3, "c"), put(0x80818283_84858687, "x"), put(1, "a"), put(1, "aa")), 1, 3, 0x80818283_84858687)
		expect(w.Commit())
		expect(w.Commit(put(3, "d")), 3)
		undone := w.Commit(put(3, "e"), put(1, "e"))
		expect(undone, 1, 3)
		expect(w.Do(order{Do: "commit", Undo: undone.String(), Undone: []string{"1", "3"}}), 1, 3)
		expect(w.Commit(remove(3)), 3)
		expect(w.Commit(remove(1), put(5, "e")), 1, 5)
	})
}

func TestBigRecordsComeAsTheyAre(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		w := srv.writer()
		big := strings.Repeat("0123456789abcdef", 10<<20/16)
		tid := w.Commit(put(1, big), put(2, big[1:2<<20]))
		s, _ := dial(t, srv.config(), ignore)
		for oid, want := range map[zodb.Oid]string{1: big, 2: big[1 : 2<<20]} {
			buf, serial, err := s.Load(t.Context(), zodb.Xid{At: tid, Oid: oid})
			require.NoError(t, err)
			require.Equal(t, tid, serial)
			require.True(t, string(buf.Data) == want)
		}
		cfg := srv.config()
		cfg.MaxMessage = 1 << 20
		s, _ = dial(t, cfg, ignore)
		_, _, err := s.Load(t.Context(), zodb.Xid{At: tid, Oid: 1})
		var protocol *ProtocolError
		require.ErrorAs(t, err, &protocol)
		<-s.Done()
	})
}

func TestDataOfOneLoadIsNotOverwrittenByOthers(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		w := srv.writer()
		var records []entry
		for i := range 100 {
			records = append(records, put(zodb.Oid(i), strings.Repeat(string(rune('0'+i)), 2000)))
		}
		tid := w.Commit(records...)
		s, _ := dial(t, srv.config(), ignore)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				bufs := make([]*storage.Buf, 100)
				for i := range bufs {
					var err error
					if bufs[i], _, err = s.Load(t.Context(), zodb.Xid{At: tid, Oid: zodb.Oid(i)}); err != nil {
						t.Error(err)
						return
					}
				}
				for i, buf := range bufs {
					if string(buf.Data) != strings.Repeat(string(rune('0'+i)), 2000) {
						t.Errorf("data of object %d has changed", i)
					}
				}
			})
		}
		group.Wait()
	})
}

func TestCancelledCallsLeaveTheSessionAsItIs(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		w := srv.writer()
		big := strings.Repeat("x", 1<<20)
		tid := w.Commit(put(1, big), put(2, "small"))
		s, _ := dial(t, srv.config(), ignore)
		for i := range 200 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
			buf, _, err := s.Load(ctx, zodb.Xid{At: tid, Oid: 1})
			require.True(t, err == nil && string(buf.Data) == big || err == context.DeadlineExceeded, "%v", err)
			err = s.Transactions(ctx, 0, tid, func(*storage.Txn) error { return nil })
			require.True(t, err == nil || err == context.DeadlineExceeded, "%v", err)
			cancel()
		}
		buf, _, err := s.Load(t.Context(), zodb.Xid{At: tid, Oid: 2})
		require.NoError(t, err)
		require.Equal(t, "small", string(buf.Data))
	})
}

func TestTransactionsEndWithTheErrorOfTheCallback(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		w := srv.writer()
		for i := range 30 {
			w.Commit(put(zodb.Oid(i), "x"))
		}
		s, _ := dial(t, srv.config(), ignore)
		mine, n := errors.New("mine"), 0
		err := s.Transactions(t.Context(), 0, zodb.TidMax, func(*storage.Txn) error {
			if n++; n == 12 {
				return mine
			}
			return nil
		})
		require.Equal(t, mine, err)
		require.Equal(t, 12, n)
		_, err = s.Last(t.Context())
		require.NoError(t, err)
		requireNoComplaint(t, srv)
	})
}

func TestTransactionsTellWhatIsRestored(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		w := srv.writer()
		tid := storage.TidOf(time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC))
		restored := put(7, "r")
		restored.Restore = true
		told := newTold()
		s, _ := dial(t, srv.config(), told.put)
		w.Do(order{Do: "commit", Tid: tid.String(), Records: []entry{restored}})
		require.Equal(t, commit{tid, nil}, told.next(t))
		var oids []zodb.Oid
		require.NoError(t, s.Transactions(t.Context(), tid, tid, func(txn *storage.Txn) error {
			oids = append(oids, txn.Oids...)
			return nil
		}))
		require.Equal(t, []zodb.Oid{7}, oids)
	})
}

func TestTransactionsSurviveAPack(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		w := srv.writer()
		for range 5 {
			w.Commit(put(0, "\x80\x03cpersistent.mapping\nPersistentMapping\nq\x00.\x80\x03}q\x01."))
		}
		kept := w.Commit(put(0, "\x80\x03cpersistent.mapping\nPersistentMapping\nq\x00.\x80\x03}q\x02."))
		last := w.Commit() // will be removed, while the server still has it for the last one
		s, _ := dial(t, srv.config(), ignore)
		w.Do(order{Do: "pack"})
		var tids []zodb.Tid
		require.NoError(t, s.Transactions(t.Context(), 0, last, func(txn *storage.Txn) error {
			require.Equal(t, []zodb.Oid{0}, txn.Oids)
			tids = append(tids, txn.Tid)
			return nil
		}))
		require.Equal(t, []zodb.Tid{kept}, tids)
		require.NoError(t, s.Err())
	})
}

func TestExtensionsComeAsPickledDicts(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		w := srv.writer()
		w.Do(order{Do: "commit", Extension: []byte("\x80\x03}(X\x01\x00\x00\x00aK\x07X\x01\x00\x00\x00b]K\x01au.")})
		s, _ := dial(t, srv.config(), ignore)
		require.NoError(t, s.Transactions(t.Context(), 0, zodb.TidMax, func(txn *storage.Txn) error {
			v, err := pickle.Decode(txn.Extension)
			require.NoError(t, err)
			require.Equal(t, "a=7, b=1", describe(v, 2))
			return nil
		}))
	})
}

// Values of an extension that have no form here, or none in msgpack, cost as little as
// can be.
func TestExtensionsWithObjects(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		// Servers do not take one of this kind, but may have it from before.
		srv.kill()
		w := storagetest.NewFSWriter(filepath.Join(srv.dir, "data.fs"))
		tid := storage.TidOf(time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC))
		w.Commit(storagetest.Txn{Tid: tid, Extension: []byte("\x80\x03}(X\x01\x00\x00\x00acdatetime\ndate\nC\x04\x07\xe4\x01\x02\x85RX\x01\x00\x00\x00bK\x01u.")})
		w.Close()
		srv.start()
		s, _ := dial(t, srv.config(), ignore)
		var got string
		err := s.Transactions(t.Context(), tid, tid, func(txn *storage.Txn) error {
			v, err := pickle.Decode(txn.Extension)
			got = describe(v, 2)
			return err
		})
		if strings.HasSuffix(t.Name(), "Z") {
			require.NoError(t, err)
			require.Equal(t, "b=1", got)
		} else {
			require.ErrorContains(t, err, "Couldn't pickle response")
		}
		_, err = s.Last(t.Context())
		require.NoError(t, err)
	})
}

func TestEndOfTheServerEndsTheSession(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		s, _ := dial(t, srv.config(), ignore)
		require.NoError(t, s.Err())
		srv.signal(syscall.SIGSTOP)
		failed := make(chan error)
		go func() {
			_, err := s.Last(t.Context())
			failed <- err
		}()
		srv.kill()
		<-s.Done()
		require.Error(t, <-failed)
		require.Error(t, s.Err())
		_, _, err := s.Load(t.Context(), zodb.Xid{At: 1, Oid: 1})
		require.ErrorIs(t, err, s.Err())
		_, _, err = Dial(srv.config())(t.Context(), ignore)
		requireOpenError(t, err, fault.Unreachable, "there is no socket")
	})
}

func requireOpenError(t testing.TB, err error, reason fault.Kind, text string) {
	t.Helper()
	var open *storage.OpenError
	require.ErrorAs(t, err, &open)
	require.Equal(t, reason, open.Reason, "%s", err)
	require.ErrorContains(t, err, text)
	require.NotEmpty(t, open.Hint, "%s", err)
}

func TestServersThatDoNotServeSaySo(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *server) {
		cfg := srv.config()
		cfg.Storage = "main"
		_, _, err := Dial(cfg)(t.Context(), ignore)
		requireOpenError(t, err, fault.NotADatabase, `has no storage "main"`)

		cfg = srv.config()
		cfg.TLS = &link.TLS{AnyName: true}
		_, _, err = Dial(cfg)(t.Context(), ignore)
		requireOpenError(t, err, fault.NotADatabase, "speaks without encryption")

		srv.signal(syscall.SIGSTOP)
		cfg = srv.config()
		cfg.ConnectTimeout = 200 * time.Millisecond
		_, _, err = Dial(cfg)(t.Context(), ignore)
		requireOpenError(t, err, fault.Unreachable, "says nothing for 200ms")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, _, err = Dial(srv.config())(ctx, ignore)
		require.Equal(t, context.Canceled, err)
		srv.signal(syscall.SIGCONT)
		dial(t, srv.config(), ignore)
	})
}
