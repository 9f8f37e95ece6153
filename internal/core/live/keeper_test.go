package live_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
)

// told is which revisions the keeper tells of.
type told struct {
	mu   sync.Mutex
	revs []zodb.Tid
}

func (h *told) tell(_ zodb.Oid, rev zodb.Tid) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revs = append(h.revs, rev)
}

// take returns, in order, what was told since the last time.
func (h *told) take() (revs []zodb.Tid) {
	h.mu.Lock()
	defer h.mu.Unlock()
	revs, h.revs = h.revs, nil
	slices.Sort(revs)
	return revs
}

// revOf returns since when a block has been what it is at a view.
func (f *fixture) revOf(blk int64, at zodb.Tid) zodb.Tid {
	rev, err := f.file.BlkRevAt(f.t.Context(), blk, at)
	require.NoError(f.t, err)
	return rev.Tid
}

// TestEachCommitTellsTheRevisionsThatItEnds, each once and those of no other
// commit, however many views there are and however much is preserved.
func TestEachCommitTellsTheRevisionsThatItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h told
		f := newFixture(t, live.Config{PreserveBytes: 1 << 20, Observer: outside{preserved: h.tell}})
		old := f.head.At()
		require.NoError(t, f.head.Preserved().Settle(t.Context(), livetest.File, 0)) // whatever the view
		ended := 0
		for range 300 {
			f.readAll()
			tid, err := f.commit()
			require.NoError(t, err)
			synctest.Wait()
			var want []zodb.Tid
			for blk := range int64(f.EndAt(old)) { // what is behind the end is never cached
				if now, was := f.revOf(blk, tid), f.revOf(blk, old); now != was {
					want = append(want, was)
				}
			}
			slices.Sort(want)
			require.Equal(t, slices.Compact(want), h.take(), "commit %d", tid)
			ended += len(want)
			old = tid
			require.NoError(t, f.head.Preserved().Settle(t.Context(), livetest.File, tid))
		}
		require.Greater(t, ended, 300)
	})
}

// TestKeeperEndsInTheMiddleOfItsWork: what is left to tell does not hold up the
// end.
func TestKeeperEndsInTheMiddleOfItsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, calls := make(chan struct{}), 0
		f := newFixture(t, live.Config{PreserveBytes: 1 << 20, Observer: outside{preserved: func(zodb.Oid, zodb.Tid) {
			calls++
			<-gate
		}}})
		require.NoError(t, f.head.Preserved().Settle(t.Context(), livetest.File, 0))
		for range 100 {
			f.readAll()
			_, err := f.commit()
			require.NoError(t, err, "a commit waits for nobody who is told")
		}
		synctest.Wait()
		require.Equal(t, 1, calls, "one at a time")
		gate <- struct{}{}
		synctest.Wait()
		require.Equal(t, 2, calls, "the first of many")
		f.cancel()
		close(gate)
		f.head.Close()
		require.Equal(t, 2, calls)
	})
}

// TestOldContentIsLetGoWithoutACommit when it has been kept for long enough, and
// not before.
func TestOldContentIsLetGoWithoutACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, live.Config{PreserveBytes: 1 << 20, PreserveTime: time.Minute})
		preserve := func() int64 {
			for before := f.head.Preserved().Bytes(); ; {
				f.readAll()
				_, err := f.commit()
				require.NoError(t, err)
				if now := f.head.Preserved().Bytes(); now > before {
					return now - before
				}
			}
		}
		preserve()
		time.Sleep(30 * time.Second)
		second := preserve()
		synctest.Wait()
		time.Sleep(30*time.Second - 1)
		synctest.Wait()
		require.Greater(t, f.head.Preserved().Bytes(), second)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, second, f.head.Preserved().Bytes())
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Zero(t, f.head.Preserved().Bytes())
	})
}
