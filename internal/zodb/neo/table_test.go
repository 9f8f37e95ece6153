package neo

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neo/neotest"
	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// A storage that has lost a partition lists no transactions of it, and does not say why. The
// master has told of that before, but it may not have arrived.
func TestTransactionsOfAPartitionThatMovesAreNotSkipped(t *testing.T) {
	t.Parallel()
	c := startCluster(t, mirrored)
	rnd, model := rand.New(rand.NewPCG(1, 2)), storagetest.NewModel()
	for range 50 {
		txn := model.RandomTxn(rnd, 10)
		model.Commit(txn)
		c.Commit(txn)
	}
	var want []zodb.Tid
	for _, txn := range model.Txns {
		want = append(want, txn.Tid)
	}
	s, _ := dialed(t, configOf(t, c), ignore, t.Logf)
	cell := func(state neoproto.CellState) neoproto.CellChange {
		return neoproto.CellChange{Partition: 1, Cell: neoproto.Cell{Node: c.Storages[0].ID, State: state}}
	}
	for range 12 {
		c.ChangeLate(30*time.Millisecond, cell(neoproto.Discarded))
		got, _, err := s.tids(t.Context(), 1, model.Head())
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(want), fmt.Sprint(got))
		c.Change(cell(neoproto.UpToDate))
		require.Eventually(t, func() bool {
			nodes, _ := s.readable(1)
			return len(nodes) == 2
		}, time.Minute, time.Millisecond)
	}
}

// Cells that feed others are read as well, and those that are corrupted are not.
func TestCellsAreReadAsTheTableSays(t *testing.T) {
	t.Parallel()
	s := newSite(t, mirrored, nil)
	s.write(7, "x")
	for _, tt := range []struct {
		state    neoproto.CellState
		readable bool
	}{{neoproto.Corrupted, false}, {neoproto.Feeding, true}, {neoproto.OutOfDate, false}, {neoproto.UpToDate, true}, {neoproto.Discarded, false}} {
		s.Storages[0].Change(1, tt.state)
		s.write(1, tt.state.String()) // the table is known then
		asked := s.Storages[0].Asked()
		for range 40 {
			require.NoError(t, s.load(7))
		}
		require.Equal(t, tt.readable, s.Storages[0].Asked() > asked, "%s", tt.state)
	}
	// A storage may come to a partition that it did not have.
	s.Storages[1].Change(1, neoproto.Corrupted)
	loaded := make(chan error, 1)
	go func() { loaded <- s.load(7) }()
	s.Storages[0].Change(1, neoproto.UpToDate)
	require.NoError(t, <-loaded)
}

// No load fails and no transaction is skipped, whatever happens to nodes and partitions.
func TestNothingIsWrongInALivelyCluster(t *testing.T) {
	t.Parallel()
	s := newSite(t, three, func(cfg *Config, _ *remote.Config) { cfg.poll = 20 * time.Millisecond })
	s.Delay(func() time.Duration { return max(0, time.Duration(rand.IntN(2000)-1500)*time.Microsecond) })
	stop := make(chan struct{})
	var busy sync.WaitGroup
	at, oids := s.model.Head(), s.model.Oids()
	model := storagetest.NewModel()
	for _, txn := range s.model.Txns {
		model.Commit(txn)
	}
	for i := range 4 {
		rnd := rand.New(rand.NewPCG(s.rnd.Uint64(), uint64(i)))
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				xid := zodb.Xid{At: at, Oid: oids[rnd.IntN(len(oids))]}
				if err := storagetest.CheckLoad(t.Context(), s.stor, model, xid); err != nil {
					t.Errorf("%s", err)
					return
				}
			}
		})
	}
	trouble := rand.New(rand.NewPCG(s.rnd.Uint64(), 9))
	busy.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.disturb(trouble)
			}
		}
	})
	s.commit(300)
	close(stop)
	busy.Wait()
	s.Delay(nil)
	s.commit(3)
	s.check()
}

// disturb does something to the cluster, and repairs it.
func (s *site) disturb(rnd *rand.Rand) {
	n := s.Storages[rnd.IntN(len(s.Storages))]
	pause := func() { time.Sleep(time.Duration(rnd.IntN(5000)) * time.Microsecond) }
	switch rnd.IntN(8) {
	case 0:
		n.Cut()
	case 1:
		n.CutAfter(rnd.IntN(5000))
	case 2:
		n.Stop()
		pause()
		n.Start()
		pause()
		n.CatchUp()
	case 3:
		n.Vanish()
		pause()
		n.Return()
	case 4:
		n.Forget(rnd.IntN(2) == 0)
		pause()
		n.Hear()
	case 5:
		s.moveCell(rnd, n, pause)
	case 6:
		n.Trickle(true)
		pause()
		n.Trickle(false)
	case 7:
		if rnd.IntN(5) == 0 {
			s.Elect(s.Masters[rnd.IntN(len(s.Masters))])
		}
	}
	pause()
}

// moveCell takes a partition away from a storage and gives it back. The clients hear of
// that later than the storage.
func (s *site) moveCell(rnd *rand.Rand, n *neotest.Node, pause func()) {
	p := rnd.IntN(three.Partitions)
	if at := int(n.ID) - 1 - p%3; at != 0 && (at+3)%3 != 1 {
		return // it does not have it
	}
	for _, state := range []neoproto.CellState{neoproto.Discarded, neoproto.OutOfDate, neoproto.UpToDate} {
		s.ChangeLate(time.Duration(rnd.IntN(5000))*time.Microsecond, neoproto.CellChange{Partition: p, Cell: neoproto.Cell{Node: n.ID, State: state}})
		pause()
	}
}
