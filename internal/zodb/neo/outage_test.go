package neo

import (
	"fmt"
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

// three is a cluster of three storages that have everything twice, and two masters.
var three = neotest.Options{Partitions: 5, Replicas: 1, Storages: 3, Masters: 2}

// Nothing is missed of what is committed while there is no connection to a master.
func TestWhatWasMissedInAnOutageArrivesOnceAndInOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t, three, nil)
	many := 1000
	if testing.Short() {
		many = 250
	}
	for _, missed := range []int{0, 1, many} {
		for name, back := range map[string]func(){
			"restart": func() { s.Masters[0].Start() },
			"switch":  func() { s.Elect(s.Masters[1]) },
		} {
			s.commit(3)
			s.check()
			s.Masters[0].Stop()
			s.reaches(false)
			s.commit(missed)
			back()
			s.reaches(true)
			s.commit(3)
			s.check()
			if name == "switch" {
				s.Masters[0].Start()
				s.Elect(s.Masters[0])
				s.check()
			}
		}
	}
	require.NotEmpty(t, s.warned.with(fmt.Sprintf("%d transactions were missed, and are known now", many)))
}

// The list of a commit lacks what it deletes, and of one that only deletes it is empty.
func TestDeletionsAreTold(t *testing.T) {
	s := newSite(t, three, nil)
	s.write(3, "x")
	for _, records := range [][]storagetest.Record{
		{{Oid: 3}},
		{{Oid: 3, Data: []byte("y")}, {Oid: 4, Data: []byte("y")}},
		{{Oid: 3}, {Oid: 4, Data: []byte("z")}},
		{{Oid: 4}, {Oid: 0x80818283_84858687}},
		{},
	} {
		s.put(storagetest.Txn{Tid: s.model.Head() + 1, Records: records})
	}
	s.check()
}

// The transactions of a backup cluster are not told to clients.
func TestBackupClustersAreFollowed(t *testing.T) {
	t.Parallel()
	s := newSite(t, three, func(cfg *Config, _ *remote.Config) { cfg.poll = 10 * time.Millisecond })
	s.SetState(neoproto.BackingUp)
	s.Mute(true)
	for range 5 {
		s.commit(20)
		s.check()
	}
	s.commit(20)
	head, err := s.stor.Sync(t.Context())
	require.NoError(t, err)
	require.Equal(t, s.model.Head(), head)
	s.check()
	s.Masters[0].Stop()
	s.reaches(false)
	s.commit(5)
	s.Masters[0].Start()
	s.commit(5)
	s.check()
	s.Mute(false)
	s.SetState(neoproto.RunningCluster)
	s.commit(20)
	s.check()
}

// The last transaction of a backup cluster may be one that does not exist. It is a view all
// the same.
func TestLastTransactionOfABackupClusterMayNotExist(t *testing.T) {
	t.Parallel()
	s := newSite(t, neotest.Options{Name: "backup"}, func(cfg *Config, _ *remote.Config) { cfg.poll = 10 * time.Millisecond })
	s.SetState(neoproto.BackingUp)
	s.Mute(true)
	s.commit(5)
	last := s.model.Head() + 1000
	s.SetLast(last)
	require.Eventually(t, func() bool { return s.stor.Head() == last }, time.Minute, time.Millisecond)
	for _, txn := range s.model.Txns[20:] {
		ev, err := s.stor.NextEvent(t.Context())
		require.NoError(t, err)
		require.Equal(t, txn.Tid, ev.Tid)
		require.Equal(t, fmt.Sprint(txn.Oids()), fmt.Sprint(ev.Oids))
	}
	ev, err := s.stor.NextEvent(t.Context())
	require.NoError(t, err)
	require.Equal(t, storage.Event{Tid: last}, storage.Event{Tid: ev.Tid})
	require.Empty(t, ev.Oids)
}

func TestDatabaseThatIsNotTheSameEndsTheStorage(t *testing.T) {
	t.Parallel()
	t.Run("went back", func(t *testing.T) {
		s := newSite(t, three, nil)
		s.write(1, "x")
		s.write(1, "y")
		s.Truncate(s.model.Head() - 1)
		var why *storage.WentBackError
		s.goesDown(&why)
		require.Equal(t, s.model.Head(), why.Head)
		require.Equal(t, s.model.Head()-1, why.Last)
	})
	t.Run("another one", func(t *testing.T) {
		s := newSite(t, three, nil)
		s.write(1, "x")
		require.NoError(t, s.load(1))
		var txns []storagetest.Txn
		for i := range 30 {
			txns = append(txns, storagetest.Txn{Tid: s.model.Head() + zodb.Tid(2+i), Records: []storagetest.Record{{Oid: 1, Data: []byte("other")}}})
		}
		s.Replace(txns...)
		var why *storage.AnotherDatabaseError
		s.goesDown(&why)
	})
}

// A storage with a replica comes and goes while there are loads and commits, and nobody
// notices.
func TestStoragesWithAReplicaMayComeAndGo(t *testing.T) {
	t.Parallel()
	s := newSite(t, three, nil)
	for range 6 {
		n := s.Storages[s.rnd.IntN(3)]
		n.Stop()
		s.commit(10)
		s.check()
		n.Start()
		s.commit(10)
		s.check()
		n.CatchUp()
		s.commit(5)
		s.check()
	}
	require.True(t, s.stor.Reach().Up)
	require.Empty(t, s.warned.with(""))
}

// When a storage without a replica is gone, the cluster sends everybody away until it is
// back.
func TestStorageWithoutAReplicaIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t, neotest.Options{Partitions: 4, Storages: 2}, nil)
	s.Storages[1].Stop()
	r := s.reaches(false)
	require.ErrorContains(t, r.Err, "storages are missing")
	require.Eventually(t, func() bool {
		return s.stor.Reach().Err != nil && len(s.stor.Reach().Err.Error()) > 0 && fmt.Sprint(s.stor.Reach().Err) != r.Err.Error()
	}, time.Minute, time.Millisecond)
	require.ErrorContains(t, s.stor.Reach().Err, "says that the cluster is not ready")
	loaded := make(chan error, 1)
	go func() { loaded <- s.load(1) }()
	s.Storages[1].Start()
	require.NoError(t, <-loaded)
	s.reaches(true)
	s.commit(10)
	s.check()
}

// A cluster is connected to by whichever of its masters is there.
func TestMastersAreTriedInTurn(t *testing.T) {
	t.Parallel()
	c := startCluster(t, neotest.Options{Masters: 4})
	c.Masters[0].Stop()
	c.Masters[1].Silence()
	c.Elect(c.Masters[3])
	cfg := configOf(t, c)
	cfg.ConnectTimeout = 500 * time.Millisecond
	_, _ = dialed(t, cfg, ignore, t.Logf)
	require.Equal(t, 1, c.Masters[3].Conns())

	// Others are learned of.
	cfg.Masters = []string{c.Masters[2].Addr}
	began := time.Now()
	dial := Dial(cfg, t.Logf)
	for range 2 {
		again, _, err := dial(t.Context(), ignore)
		require.NoError(t, err)
		require.NoError(t, again.Close())
	}
	require.Less(t, time.Since(began), cfg.ConnectTimeout)
	c.Masters[2].Stop()
	c.Masters[3].Stop()
	c.Masters[0].Start()
	c.Elect(c.Masters[0])
	again, _, err := dial(t.Context(), ignore)
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

// A node that is gone without a word is noticed, and what waits for it goes on elsewhere.
func TestHalfOpenConnectionsAreNoticed(t *testing.T) {
	t.Parallel()
	impatient := func(cfg *Config, _ *remote.Config) {
		cfg.tick, cfg.poll, cfg.ConnectTimeout = 50*time.Millisecond, 20*time.Millisecond, time.Second
	}
	t.Run("storage", func(t *testing.T) {
		s := newSite(t, mirrored, impatient)
		s.check()
		s.write(7, "x")
		for range 20 {
			require.NoError(t, s.load(7))
		}
		s.Storages[0].Silence()
		for range 20 {
			require.NoError(t, s.load(7))
		}
		s.commit(10)
		s.check()
		s.Storages[0].Speak()
		s.Storages[1].Silence()
		for range 20 {
			require.NoError(t, s.load(7))
		}
		require.True(t, s.stor.Reach().Up)
	})
	t.Run("master", func(t *testing.T) {
		s := newSite(t, three, impatient)
		s.Masters[0].Silence()
		r := s.reaches(false)
		require.ErrorContains(t, r.Err, "has not answered for 250ms")
		s.commit(10)
		s.Elect(s.Masters[1])
		s.reaches(true)
		s.check()
		s.Masters[0].Speak()
	})
}
