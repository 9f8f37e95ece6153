package live

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/t/harness"
)

// clustered is a served database in a cluster.
type clustered struct {
	*changing
	c *neotest.Cluster
}

func newClustered(t *testing.T, opt neotest.Options, options ...string) *clustered {
	t.Helper()
	l, c := harness.NewLiveNEO(t, opt)
	r := &clustered{newChanging(t, l), c}
	r.s = r.Start(options...)
	return r
}

// TestStoragesOfAClusterMayEnd: with a replica nobody notices.
func TestStoragesOfAClusterMayEnd(t *testing.T) {
	t.Parallel()
	r := newClustered(t, neotest.Options{Partitions: 4, Replicas: 1, Storages: 2})
	before := r.Head()
	for round := range 4 {
		n := r.c.Storages[round%2]
		n.Stop()
		last := r.commit()
		r.sees(before, last)
		require.Contains(t, storageSays(r.s), "connected\n")
		require.Contains(t, storageSays(r.s), fmt.Sprintf("storage %s at %s: down", n.ID, n.Addr))
		n.Start()
		n.CatchUp()
		before = last
	}
	require.NotContains(t, r.s.Log(), "is lost")
	require.Contains(t, harness.Content(t, r.s.Path(".wcfs/metrics")), "\nwcfs_storage_reconnects_total 0\n")
}

// TestClusterWithoutAPartitionIsWaitedFor: what is cached stays readable, what is not is EIO
// after a while, and all is there when the storage is back.
func TestClusterWithoutAPartitionIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newClustered(t, neotest.Options{Partitions: 4, Storages: 2}, "--storage-timeout", "2s")
	before := r.Head()
	fd, err := harness.OpenFile(r.f.Path(r.s, "head"), unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	cached, err := readPage(fd, 1)
	require.NoError(t, err)
	r.c.Storages[1].Stop()
	r.isAway()
	again, err := readPage(fd, 1)
	require.NoError(t, err)
	require.Equal(t, cached, again)
	_, err = readPage(fd, 8)
	require.ErrorIs(t, err, unix.EIO)
	r.c.Storages[1].Start()
	r.isBack()
	r.sees(before, r.commit())
}

// TestMastersOfAClusterMayEnd: another one takes over, or it comes back, and what was
// committed meanwhile is there.
func TestMastersOfAClusterMayEnd(t *testing.T) {
	t.Parallel()
	r := newClustered(t, neotest.Options{Partitions: 5, Replicas: 1, Storages: 3, Masters: 2})
	before := r.Head()
	r.c.Elect(r.c.Masters[1])
	last := r.commit()
	r.sees(before, last)
	for _, missed := range []int{0, 1, 1000} {
		before = last
		for _, m := range r.c.Masters {
			m.Stop()
		}
		r.isAway()
		for range missed {
			last = r.commit()
		}
		for _, m := range r.c.Masters {
			m.Start()
		}
		r.isBack()
		r.sees(before, last)
		if missed > 0 {
			require.Contains(t, r.s.Log(), fmt.Sprintf("; %d transactions were missed, and are known now", missed))
		}
	}
}

// TestPartitionsOfAClusterMayMove while the mount is read and its database changes.
func TestPartitionsOfAClusterMayMove(t *testing.T) {
	t.Parallel()
	r := newClustered(t, neotest.Options{Partitions: 3, Replicas: 1, Storages: 3})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	stop := make(chan struct{})
	var moving sync.WaitGroup
	moving.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rnd.IntN(5)) * time.Millisecond):
			}
			p := rnd.IntN(3)
			stays, goes, comes := r.c.Storages[p], r.c.Storages[(p+1)%3], r.c.Storages[(p+2)%3]
			for _, change := range []struct {
				n     *neotest.Node
				state neoproto.CellState
			}{
				{comes, neoproto.OutOfDate}, {goes, neoproto.Feeding}, {comes, neoproto.UpToDate}, {goes, neoproto.Discarded},
				{goes, neoproto.UpToDate}, {comes, neoproto.Discarded}, {stays, neoproto.UpToDate},
			} {
				change.n.Change(p, change.state)
			}
		}
	})
	before := r.Head()
	for range 30 {
		last := r.commit()
		r.sees(before, last)
		before = last
	}
	close(stop)
	moving.Wait()
	require.NotContains(t, r.s.Log(), "damaged")
}

// TestHalfOpenConnectionsOfAClusterAreNoticed: a storage and then the master say nothing
// any more.
func TestHalfOpenConnectionsOfAClusterAreNoticed(t *testing.T) {
	t.Parallel()
	r := newClustered(t, neotest.Options{Partitions: 2, Replicas: 1, Storages: 2})
	before := r.Head()
	r.f.Check(r.s, "head", before)
	r.c.Storages[0].Silence()
	last := r.commit()
	r.sees(before, last) // after 25 s, from the other one
	r.c.Storages[0].Speak()

	before = last
	r.c.Masters[0].Silence()
	last = r.commit()
	r.isAway()
	require.Contains(t, storageSays(r.s), "has not answered for 25s")
	r.c.Masters[0].Speak()
	r.sees(before, last)
}
