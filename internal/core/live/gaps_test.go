package live_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// TestInvalidationGoesAroundEachREADOfABlock whose blocks do not begin at pages: a READ
// of a page in the middle of a block belongs to that block only.
func TestInvalidationGoesAroundEachREADOfABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := []int64{0, 1, 2, 3, 4, 5}
		k, h, db, next := resizeWorldOf(t, live.Config{}, 10000, all, all, all)
		var w *live.Watch
		c := &parkedClient{make(chan int64, 10)}
		require.NoError(t, h.Known(1).Watch(t.Context(), c, 1, nil, func(x *live.Watch) { w = x }))
		next() // block 5, in pages 12 to 14
		stuck := make(chan struct{})
		db.OnLoad(func(_ context.Context, xid zodb.Xid) error {
			if xid.Oid == 101 {
				<-stuck
			}
			return nil
		})
		other, parked, start := make(chan error, 1), make(chan error, 1), time.Now()
		go func() { other <- k.ReadPages(t.Context(), nil, 0, 3, 4) }()
		go func() { parked <- k.ReadPages(t.Context(), nil, 0, 13, 14) }()
		require.EqualValues(t, 5, <-c.sent)
		synctest.Wait()
		require.Empty(t, parked)
		next()
		require.Less(t, time.Since(start), time.Minute, "the commit waited")
		require.Empty(t, parked)
		close(stuck)
		w.Drop()
		require.NoError(t, <-parked)
		require.NoError(t, <-other)
	})
}

// TestWatchOfAViewThatIsIncompleteIsRefusedEvenIfAllOfItIsThere so far: what is served
// later may lead to what is gone.
func TestWatchOfAViewThatIsIncompleteIsRefusedEvenIfAllOfItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPackedWorld(t)
		first := w.tid
		w.tid += packedSecond
		w.db.Commit(w.tid, map[zodb.Oid][]byte{100: bigfile.EncodeBlock([]byte("block only"))})
		w.follow()
		w.db.pack(w.tid)
		var packed *storage.PackedError
		err := w.file.Watch(t.Context(), &sends{}, first, nil, func(x *live.Watch) { x.Drop() })
		require.ErrorAs(t, err, &packed)
	})
}

// commitEnd commits a table that ends with the last of keys.
func (w *packedWorld) commitEnd(keys ...int64) {
	w.Helper()
	w.tid += packedSecond
	var refs []btree.Ref
	rec := map[zodb.Oid][]byte{}
	for _, k := range keys {
		refs = append(refs, btree.Ref{Oid: zodb.Oid(100 + k), Class: record.ZBlk0})
		rec[zodb.Oid(100+k)] = bigfile.EncodeBlock([]byte(w.tid.String()))
	}
	rec[3] = btree.EncodeBucket(btree.LO, keys, refs, 0)
	w.db.Commit(w.tid, rec)
	w.follow()
}

// TestWatchIsLostWithWhatAFileLoses if that was packed away.
func TestWatchIsLostWithWhatAFileLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPackedWorld(t)
		w.commitEnd(0, 1)
		c := &losingClient{parkedClient{make(chan int64, 10)}, make(chan error, 10)}
		var watch *live.Watch
		require.NoError(t, w.file.Watch(t.Context(), c, w.tid, nil, func(x *live.Watch) { watch = x }))
		w.commitEnd(0, 1)
		w.db.pack(w.tid)
		w.commitEnd(0)
		var packed *storage.PackedError
		require.Len(t, c.lost, 1)
		require.ErrorAs(t, <-c.lost, &packed)
		watch.Drop()
	})
}

// TestWatchThatHasMovedOnIsNotLost with the view that it was at.
func TestWatchThatHasMovedOnIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPackedWorld(t)
		c := &losingClient{parkedClient{make(chan int64, 10)}, make(chan error, 10)}
		var watch *live.Watch
		first := w.tid
		require.NoError(t, w.file.Watch(t.Context(), c, first, nil, func(x *live.Watch) { watch = x }))
		second := w.next()
		last := w.next()
		looking := make(chan struct{})
		w.db.beforeLoad = func(xid zodb.Xid) {
			if xid.At == first {
				<-looking
			}
		}
		done := make(chan error, 1)
		go func() { done <- w.read() }()
		synctest.Wait()
		require.Empty(t, done)
		require.NoError(t, watch.Move(t.Context(), last))
		w.db.pack(second)
		close(looking)
		require.NoError(t, <-done)
		require.Empty(t, c.lost)
		watch.Drop()
	})
}

// TestDroppedWatchDoesNotKeepWhoReadsBehindTheEnd of a file that became shorter: nobody
// maps data there.
func TestDroppedWatchDoesNotKeepWhoReadsBehindTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, next := resizeWorld(t, 4096, []int64{0, 1}, []int64{0})
		f := h.Known(1)
		var w *live.Watch
		require.NoError(t, f.Watch(t.Context(), &sends{}, 1, nil, func(x *live.Watch) { w = x }))
		w.Drop()
		next()
		require.NoError(t, k.ReadPages(t.Context(), nil, 0, 1, 2))
	})
}
