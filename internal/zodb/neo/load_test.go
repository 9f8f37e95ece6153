package neo

import (
	"context"
	"crypto/sha1"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// mirrored is a cluster of two storages that both have everything.
var mirrored = neotest.Options{Partitions: 3, Replicas: 1, Storages: 2}

// One replica that is gone is no matter of a load, whatever has become of it, and whether
// the load has begun or not.
func TestLoadsGoOnWithTheOtherReplica(t *testing.T) {
	for name, trouble := range map[string]func(n *neotest.Node){
		"stopped":           func(n *neotest.Node) { n.Stop() },
		"vanished":          func(n *neotest.Node) { n.Vanish() },
		"cut":               func(n *neotest.Node) { n.Cut() },
		"cut in a packet":   func(n *neotest.Node) { n.CutAfter(50) },
		"cut in a hello":    func(n *neotest.Node) { n.Cut(); n.CutAfter(3) },
		"forgets clients":   func(n *neotest.Node) { n.Forget(false) },
		"byte by byte":      func(n *neotest.Node) { n.Trickle(true) },
		"byte by byte, cut": func(n *neotest.Node) { n.Trickle(true); n.CutAfter(50) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, mirrored, nil)
			stop := make(chan struct{})
			var loading sync.WaitGroup
			for i := range 8 {
				loading.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(i), 0))
					for {
						select {
						case <-stop:
							return
						default:
						}
						oids := s.model.Oids()
						if err := s.load(oids[rnd.IntN(len(oids))]); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			asked := s.Storages[0].Asked()
			require.Eventually(t, func() bool { return s.Storages[0].Asked() > asked+50 }, time.Minute, time.Millisecond)
			trouble(s.Storages[0])
			asked = s.Storages[1].Asked()
			require.Eventually(t, func() bool { return s.Storages[1].Asked() > asked+50 }, time.Minute, time.Millisecond)
			close(stop)
			loading.Wait()
			require.True(t, s.stor.Reach().Up)
		})
	}
}

// A record that one storage has damaged is read from the other one, and the operator hears
// of it.
func TestDamageOnOneReplicaIsNoMatterOfALoad(t *testing.T) {
	for _, damage := range []neotest.Damage{neotest.WrongData, neotest.WrongChecksum, neotest.WrongForm} {
		s := newSite(t, mirrored, nil)
		s.write(7, strings.Repeat("what is stored ", 10))
		s.Storages[1].Damage(7, damage)
		for range 20 { // until it is asked
			require.NoError(t, s.load(7))
			require.NoError(t, s.load(1))
		}
		told := s.warned.with("damaged record of object 0000000000000007")
		require.NotEmpty(t, told)
		require.Contains(t, told[0], "storage S2 at "+s.Storages[1].Addr)
		require.Len(t, told, 1)
	}
}

// Damage that all storages have is told at once, and not waited for.
func TestDamageOnAllReplicasIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t, mirrored, nil)
	tid := s.write(7, strings.Repeat("what is stored ", 10))
	for _, n := range s.Storages {
		n.Damage(7, neotest.WrongData)
	}
	began := time.Now()
	_, _, err := s.stor.Load(t.Context(), zodb.Xid{At: tid, Oid: 7})
	var corrupt *storage.CorruptError
	require.ErrorAs(t, err, &corrupt)
	require.Equal(t, zodb.Oid(7), corrupt.Oid)
	require.Equal(t, tid, corrupt.Tid)
	require.ErrorContains(t, err, "its checksum is wrong, on every storage that has it")
	require.Less(t, time.Since(began), 10*time.Second)
	require.NoError(t, s.load(1))

	// One of them that is away may have it as it was.
	s.Storages[1].Vanish()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, _, err = s.stor.Load(ctx, zodb.Xid{At: tid, Oid: 7})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	s.Storages[1].Damage(7, neotest.NoDamage)
	s.Storages[1].Return()
	require.NoError(t, s.load(7))
}

func TestWrongChecksumsMayBeIgnored(t *testing.T) {
	s := newSite(t, mirrored, func(cfg *Config, _ *remote.Config) { cfg.IgnoreChecksums = true })
	s.write(7, "x")
	for _, n := range s.Storages {
		n.Damage(7, neotest.WrongChecksum)
	}
	require.NoError(t, s.load(7))
}

// A load of which all replicas are gone waits for them, and says which partition it was and
// why when that takes too long.
func TestLoadsWaitForReplicas(t *testing.T) {
	for name, leave := range map[string]struct {
		away, back func(n *neotest.Node)
		why        string
	}{
		"vanished":       {(*neotest.Node).Vanish, (*neotest.Node).Return, "connection refused"},
		"discarded":      {discard(neoproto.Discarded), discard(neoproto.UpToDate), "no storage that has it is there"},
		"out of date":    {discard(neoproto.OutOfDate), discard(neoproto.UpToDate), "no storage that has it is there"},
		"unknown to":     {func(n *neotest.Node) { n.Forget(false) }, (*neotest.Node).Hear, "NOT_READY"},
		"saying nothing": {func(n *neotest.Node) { n.Silence(); n.Cut() }, (*neotest.Node).Speak, "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const timeout = 600 * time.Millisecond
			s := newSite(t, mirrored, func(cfg *Config, r *remote.Config) { cfg.ConnectTimeout, r.Timeout = timeout/4, timeout })
			s.write(7, "there")
			require.NoError(t, s.load(7))
			for _, n := range s.Storages {
				leave.away(n)
			}
			began := time.Now()
			_, _, err := s.stor.Load(t.Context(), zodb.Xid{At: s.model.Head(), Oid: 7})
			var away *storage.AwayError
			require.ErrorAs(t, err, &away)
			require.GreaterOrEqual(t, time.Since(began), timeout)
			require.ErrorContains(t, err, "partition 1 of the cluster cannot be read")
			require.ErrorContains(t, err, leave.why)
			require.True(t, s.stor.Reach().Up)

			loaded := make(chan error, 1)
			go func() { loaded <- s.load(7) }()
			leave.back(s.Storages[1])
			require.NoError(t, <-loaded)
		})
	}
}

// discard gives the cells of a node a state.
func discard(state neoproto.CellState) func(n *neotest.Node) {
	return func(n *neotest.Node) {
		for p := range mirrored.Partitions {
			n.Change(p, state)
		}
	}
}

// A load at a transaction that a storage is about to unlock waits for that.
func TestLoadsWaitForCommitsOnTheirWay(t *testing.T) {
	s := newSite(t, neotest.Options{}, nil)
	txn := storagetest.Txn{Tid: s.model.Head() + 1, Records: []storagetest.Record{{Oid: 7, Data: []byte("new")}}}
	commit := s.Lock(txn)
	commit.Tell()
	s.model.Commit(txn)
	require.Eventually(t, func() bool { return s.Waiting() > 0 }, time.Minute, time.Millisecond) // to complete the event
	require.NotEqual(t, txn.Tid, s.stor.Head())
	commit.Unlock()
	s.check()

	txn = storagetest.Txn{Tid: s.model.Head() + 1, Records: []storagetest.Record{{Oid: 7, Data: []byte("newer")}}}
	commit = s.Lock(txn)
	loaded := make(chan error, 1)
	go func() { loaded <- s.load(7) }() // as of before, which the storage cannot tell
	require.Eventually(t, func() bool { return s.Waiting() > 0 }, time.Minute, time.Millisecond)
	require.Empty(t, loaded)
	commit.Tell()
	commit.Unlock()
	require.NoError(t, <-loaded)
}

// Answers are checked for what was asked.
func TestAnswersToOtherQuestionsAreDamage(t *testing.T) {
	s := &session{cfg: &Config{}}
	answer := func(change func(o *neoproto.Object)) error {
		o := &neoproto.Object{Oid: 1, Serial: 10, Data: storage.NewBuf(1), Checksum: sha1.Sum([]byte("x"))}
		o.Data.Data[0] = 'x'
		change(o)
		buf, err := s.record(o, 1, 20)
		if err == nil {
			buf.Release()
		}
		return err
	}
	require.NoError(t, answer(func(*neoproto.Object) {}))
	for text, change := range map[string]func(o *neoproto.Object){
		"it is the answer for object":             func(o *neoproto.Object) { o.Oid = 2 },
		"it is the answer for":                    func(o *neoproto.Object) { o.Serial = 21 },
		"it is the answer":                        func(o *neoproto.Object) { o.Serial = 0 },
		"its checksum is wrong":                   func(o *neoproto.Object) { o.Data.Data[0]++ },
		"it is empty":                             func(o *neoproto.Object) { o.Data.Data = nil; o.Checksum = sha1.Sum(nil) },
		"it cannot be decompressed":               func(o *neoproto.Object) { o.Compression = neoproto.Zlib },
		"compressed in a way 2 that is not known": func(o *neoproto.Object) { o.Compression = 2 },
	} {
		err := answer(change)
		var elsewhere *elsewhereError
		require.ErrorAs(t, err, &elsewhere)
		require.True(t, elsewhere.damaged)
		require.ErrorContains(t, err, text)
	}
	err := answer(func(o *neoproto.Object) { o.Data.Data = nil; o.Checksum = [20]byte{} })
	var gone *zodb.NoDataError
	require.ErrorAs(t, err, &gone)
	require.Equal(t, zodb.Tid(10), gone.DeletedAt)
}

// Cancelled loads end at once, and the sessions go on.
func TestEveryWaitEndsWithItsContext(t *testing.T) {
	for name, hold := range map[string]func(s *site){
		"answer of a storage": func(s *site) { s.Storages[0].Silence(); s.Storages[1].Silence() },
		"hello of a storage": func(s *site) {
			s.Storages[0].Silence()
			s.Storages[1].Silence()
			s.Storages[0].Cut()
			s.Storages[1].Cut()
		},
		"identification":       func(s *site) { s.Storages[0].Forget(true); s.Storages[1].Forget(true) },
		"a storage that comes": func(s *site) { s.Storages[0].Vanish(); s.Storages[1].Vanish() },
		"a commit": func(s *site) {
			s.Lock(storagetest.Txn{Tid: s.model.Head() + 1, Records: []storagetest.Record{{Oid: 7, Data: []byte("x")}}})
		},
		"an answer of the master": func(s *site) { s.Masters[0].Silence() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, mirrored, nil)
			s.write(7, "there")
			require.NoError(t, s.load(7))
			hold(s)
			began := time.Now()
			for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if cause == context.Canceled {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(50*time.Millisecond, cancel)
				}
				var err error
				if name == "an answer of the master" {
					_, err = s.stor.Sync(ctx)
				} else {
					_, _, err = s.stor.Load(ctx, zodb.Xid{At: s.model.Head(), Oid: 7})
				}
				require.True(t, errors.Is(err, cause), "%v", err)
			}
			require.Less(t, time.Since(began), 5*time.Second)
		})
	}
}
