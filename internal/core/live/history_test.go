package live_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
)

// keeping is which history there has to be, found by going through all transactions.
type keeping struct {
	*packedWorld
	tids    []zodb.Tid
	watches []*live.Watch
	at      []zodb.Tid // of watches
	most    int        // transactions that watches keep; 0: no bound
	kept    zodb.Tid
}

// newestUpTo returns the transaction that was the newest one at a moment.
func (k *keeping) newestUpTo(moment zodb.Tid) (newest zodb.Tid) {
	for _, tid := range k.tids {
		if tid <= moment {
			newest = tid
		}
	}
	return newest
}

// step makes a transaction and notes what has to be kept after it: the last minute,
// what watches see, but only so many transactions of what only they see.
func (k *keeping) step() {
	tid := k.next()
	k.tids = append(k.tids, tid)
	recent := k.newestUpTo(zodb.TidFromTime(tid.Time().Add(-time.Minute)))
	from := recent
	for _, at := range k.at {
		from = min(from, at)
	}
	if k.most > 0 && len(k.tids) > k.most {
		from = max(from, min(recent, k.tids[len(k.tids)-1-k.most]))
	}
	k.kept = max(k.kept, from)
}

// requireKept requires that each view that is kept can be watched, and no other.
func (k *keeping) requireKept() {
	k.Helper()
	for _, tid := range k.tids {
		c := &parkedClient{make(chan int64, 1)}
		err := k.file.Watch(k.Context(), c, tid, nil, func(w *live.Watch) { w.Drop() })
		if tid < k.kept {
			var tooFar *live.TooFarBackError
			require.ErrorAs(k, err, &tooFar, "@%s; kept from @%s", tid, k.kept)
			require.ErrorAs(k, k.head.Reaches(tid), &tooFar)
		} else {
			require.NoError(k, err, "@%s; kept from @%s", tid, k.kept)
			require.NoError(k, k.head.Reaches(tid))
		}
	}
	require.Equal(k, k.kept, k.head.Stats().HistoryBegin)
}

// watch sets up a watch of some view that is kept, or moves or drops one.
func (k *keeping) watch(rnd *rand.Rand) {
	k.Helper()
	at := k.tids[rnd.IntN(len(k.tids))]
	if i := rnd.IntN(3); i < len(k.at) && rnd.IntN(3) > 0 {
		if at >= max(k.kept, k.at[i]) && rnd.IntN(2) == 0 {
			require.NoError(k, k.watches[i].Move(k.Context(), at))
			k.at[i] = at
			return
		}
		k.watches[i].Drop()
		k.watches = append(k.watches[:i], k.watches[i+1:]...)
		k.at = append(k.at[:i], k.at[i+1:]...)
	} else if at >= k.kept {
		c := &parkedClient{make(chan int64, 1000)}
		require.NoError(k, k.file.Watch(k.Context(), c, at, nil, func(w *live.Watch) { k.watches = append(k.watches, w) }))
		k.at = append(k.at, at)
	}
}

// TestHistoryIsKeptForWhoeverMayAskForIt, and for nobody else. A watch of a view of
// which it is gone sees the right data nevertheless.
func TestHistoryIsKeptForWhoeverMayAskForIt(t *testing.T) {
	n := uint64(20)
	if testing.Short() {
		n = 6
	}
	for seed := range n {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			most := []int{0, 3, 30}[seed%3]
			k := &keeping{packedWorld: newPackedWorldOf(t, 2*most), most: most} // a transaction is of two objects
			k.kept = k.tid
			k.tids = append(k.tids, k.tid)
			for range 100 {
				k.packedWorld.tid += packedSecond * zodb.Tid(rnd.IntN(8)*rnd.IntN(3))
				k.step()
				if rnd.IntN(4) == 0 {
					k.watch(rnd)
				}
				if rnd.IntN(10) == 0 {
					k.requireKept()
				}
			}
			done := make(chan error, 1)
			go func() { done <- k.read() }()
			synctest.Wait()
			for i, w := range k.watches {
				var pin zodb.Tid
				w.Take(0, func(rev zodb.Tid, _ time.Time) bool { pin = rev; return true })
				if k.at[i] != k.tids[len(k.tids)-1] {
					require.Equal(t, k.at[i], pin)
					w.Acked(0)
				}
				w.Drop()
			}
			require.NoError(t, <-done)
		})
	}
}
