package neo

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Close ends everything soon, whatever the driver waits for, and leaves nothing.
func TestCloseEndsEveryWait(t *testing.T) {
	silence := func(nodes ...*neotest.Node) {
		for _, n := range nodes {
			n.Silence()
		}
	}
	for name, hold := range map[string]func(s *site){
		"nothing":                 func(s *site) {},
		"an answer of a storage":  func(s *site) { silence(s.Storages...) },
		"hello of a storage":      func(s *site) { silence(s.Storages...); s.Storages[0].Cut(); s.Storages[1].Cut() },
		"a storage that accepts":  func(s *site) { s.Storages[0].Forget(true); s.Storages[1].Forget(true) },
		"a storage that comes":    func(s *site) { s.Storages[0].Vanish(); s.Storages[1].Vanish() },
		"an answer of the master": func(s *site) { silence(s.Masters...) },
		"hello of the master":     func(s *site) { silence(s.Masters...); s.Masters[0].Cut(); s.reaches(false) },
		"a master that comes":     func(s *site) { s.Masters[0].Vanish(); s.reaches(false) },
		"a cluster that is ready": func(s *site) { s.SetState(neoproto.Verifying); s.reaches(false) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, mirrored, nil)
			s.write(7, "x")
			require.NoError(t, s.load(7))
			hold(s)
			var calls sync.WaitGroup
			for range 4 {
				calls.Go(func() {
					for err := error(nil); !errors.Is(err, storage.ErrClosed); {
						if _, _, err = s.stor.Load(context.Background(), zodb.Xid{At: s.model.Head(), Oid: 7}); err != nil && !errors.Is(err, storage.ErrClosed) {
							t.Errorf("load: %s", err)
							return
						}
					}
				})
				calls.Go(func() {
					for err := error(nil); !errors.Is(err, storage.ErrClosed); {
						if _, err = s.stor.Sync(context.Background()); err != nil && !errors.Is(err, storage.ErrClosed) {
							t.Errorf("sync: %s", err)
							return
						}
					}
				})
			}
			began := time.Now()
			require.NoError(t, s.stor.Close())
			calls.Wait()
			require.Less(t, time.Since(began), 5*time.Second)
			for _, n := range s.Storages {
				n.Speak() // a silent node sees only then that nobody is there any more
			}
			s.Masters[0].Speak()
			for _, n := range append(s.Storages, s.Masters...) {
				require.Eventually(t, func() bool { return n.Conns() == 0 }, time.Minute, time.Millisecond)
			}
		})
	}
}

// Sessions that end in the middle of everything leave no goroutine and no connection.
func TestSessionsLeaveNothing(t *testing.T) {
	c := startCluster(t, neotest.Options{Partitions: 3, Replicas: 2, Storages: 3})
	cfg := configOf(t, c)
	c.Commit(storageTxn(10, 1, "x"))
	ignored := goleak.IgnoreCurrent()
	for i := range 60 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
		s, last, err := Dial(cfg, t.Logf)(ctx, ignore)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			continue
		}
		var loading sync.WaitGroup
		for range 20 {
			loading.Go(func() {
				if buf, _, err := s.Load(t.Context(), zodb.Xid{At: last, Oid: 1}); err == nil {
					buf.Release()
				}
			})
		}
		time.Sleep(time.Duration(i%7) * 100 * time.Microsecond)
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		loading.Wait()
		_, _, err = s.Load(t.Context(), zodb.Xid{At: last, Oid: 1})
		require.Error(t, err)
	}
	for _, n := range append(c.Storages, c.Masters...) {
		require.Eventually(t, func() bool { return n.Conns() == 0 }, time.Minute, time.Millisecond)
	}
	goleak.VerifyNone(t, ignored)
}

// Answers bigger than agreed end the connection, and take no memory.
func TestAnswersThatAreTooBigAreRefused(t *testing.T) {
	s := newSite(t, neotest.Options{}, func(cfg *Config, r *remote.Config) {
		cfg.MaxPacket, r.Timeout = 1<<20, 2*time.Second
	})
	s.write(7, string(noise(3<<20)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := s.stor.Load(t.Context(), zodb.Xid{At: s.model.Head(), Oid: 7})
	runtime.ReadMemStats(&after)
	var away *storage.AwayError
	require.ErrorAs(t, err, &away)
	require.ErrorContains(t, err, "that is longer than 1048576 bytes")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20)) // that of the fake included
	require.NoError(t, s.load(1))
	require.True(t, s.stor.Reach().Up)

	s.write(8, strings.Repeat("x", 3<<20)) // which is small while it is compressed
	require.NoError(t, s.load(8))
}
