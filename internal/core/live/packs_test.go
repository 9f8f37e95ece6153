package live_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// packedStore is a database from which packs up to complete have removed what was not
// current there.
type packedStore struct {
	*mem.Storage
	beforeLoad     func(zodb.Xid) // may be nil
	mu             sync.Mutex
	complete, kept zodb.Tid
}

func (s *packedStore) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	if s.beforeLoad != nil {
		s.beforeLoad(xid)
	}
	complete, _ := s.Packs()
	if xid.At < complete {
		buf, serial, err := s.Storage.Load(ctx, zodb.Xid{At: complete, Oid: xid.Oid})
		if err == nil {
			buf.Release()
		}
		if err == nil && serial > xid.At {
			return nil, 0, &storage.PackedError{Xid: xid, PackTime: complete}
		}
	}
	return s.Storage.Load(ctx, xid)
}

func (s *packedStore) Packs() (complete, newest zodb.Tid) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.complete, s.complete
}

func (s *packedStore) Keep(from zodb.Tid) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = from
}

func (s *packedStore) pack(to zodb.Tid) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complete = to
}

// packedWorld is a file of one block that each commit changes, together with its table,
// served from a database that can be packed. The time of commits is close to now.
type packedWorld struct {
	*testing.T
	db     *packedStore
	head   *live.Head
	file   *live.File
	kernel *livetest.Kernel
	tid    zodb.Tid
}

const packedSecond = zodb.Tid(1<<32) / 60 // of a tid, about

func newPackedWorld(t *testing.T) *packedWorld { return newPackedWorldOf(t, 0) }

func newPackedWorldOf(t *testing.T, maxHistory int) *packedWorld {
	ctx, cancel := context.WithCancel(t.Context())
	w := &packedWorld{T: t, db: &packedStore{Storage: mem.New()}, tid: 0x0400000000000000}
	w.commit()
	objs := versions.NewObjects(ctx, w.db, w.tid, 0)
	loader := bigfile.NewLoader(ctx, 4)
	w.head = live.New(ctx, w.tid, objs, w.db, loader, live.Config{MaxServed: 1000, Retry: time.Second, StuckAfter: time.Hour,
		KeepHistory: time.Minute, MaxHistory: maxHistory, KeepFloor: time.Hour, Observer: outside{t: t}, Processes: outside{}})
	t.Cleanup(func() { cancel(); w.head.Close(); loader.Wait(); objs.Close(); w.db.Close() })
	var err error
	w.file, err = w.head.Open(ctx, 1)
	require.NoError(t, err)
	w.kernel = livetest.NewKernel(w.file, func() {})
	_, err = w.db.NextEvent(ctx)
	require.NoError(t, err)
	return w
}

// commit commits the next state of the block, which is its own number.
func (w *packedWorld) commit() zodb.Tid {
	w.tid += packedSecond
	rec := map[zodb.Oid][]byte{
		3:   btree.EncodeBucket(btree.LO, []int64{0}, []btree.Ref{{Oid: 100, Class: record.ZBlk0}}, 0),
		100: bigfile.EncodeBlock([]byte(w.tid.String())),
	}
	if w.head == nil {
		rec[1] = bigfile.EncodeFile(&bigfile.File{BlkSize: 4096, Table: 2})
		rec[2] = btree.EncodeTree(btree.LO, false, []zodb.Oid{3}, nil, 3)
	}
	w.db.Commit(w.tid, rec)
	return w.tid
}

// follow takes in one commit.
func (w *packedWorld) follow() {
	w.Helper()
	event, err := w.db.NextEvent(w.Context())
	require.NoError(w, err)
	require.NoError(w, w.head.Commit(w.Context(), event))
}

func (w *packedWorld) next() zodb.Tid {
	w.Helper()
	tid := w.commit()
	w.follow()
	return tid
}

func (w *packedWorld) read() error { return w.kernel.ReadPages(w.Context(), nil, 0, 0, 1) }

func (w *packedWorld) wantPage(tid zodb.Tid) {
	w.Helper()
	require.Equal(w, tid.String(), string(w.kernel.PageAt(0)[:16]))
}

// losingClient is a client that is told what is lost.
type losingClient struct {
	parkedClient
	lost chan error
}

func (c *losingClient) Lost(w *live.Watch, err error) { c.lost <- err }

// TestReadOfCurrentData has a client whose view is packed
// away. The READ of somebody else waits until that client is gone, and is then answered.
func TestReadOfCurrentData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPackedWorld(t)
		c := &losingClient{parkedClient{make(chan int64, 10)}, make(chan error, 10)}
		var watch *live.Watch
		require.NoError(t, w.file.Watch(t.Context(), c, w.tid, nil, func(x *live.Watch) { watch = x }))
		w.db.pack(w.next())
		last := w.next()
		done := make(chan error, 1)
		go func() { done <- w.read() }()
		var packed *storage.PackedError
		require.ErrorAs(t, <-c.lost, &packed)
		synctest.Wait()
		require.Empty(t, done, "the client may still see the page")
		watch.Drop()
		require.NoError(t, <-done)
		w.wantPage(last)
		require.Empty(t, c.sent)
	})
}

// TestWatchAfterAPackIsPinnedToWhatThePackHasLeft has a block that is older than the
// pack: its revision cannot be opened any more.
func TestWatchAfterAPackIsPinnedToWhatThePackHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPackedWorld(t)
		require.NoError(t, w.read())
		w.next()
		require.NoError(t, w.read()) // known to have changed then
		packed := w.tid + 1
		w.db.pack(packed)
		at := w.tid + 2
		c := &losingClient{parkedClient{make(chan int64, 10)}, make(chan error, 10)}
		w.db.Commit(at, map[zodb.Oid][]byte{9: []byte("other")})
		w.follow()
		w.tid = at
		var watch *live.Watch
		require.NoError(t, w.file.Watch(t.Context(), c, at, nil, func(x *live.Watch) { watch = x }))
		last := w.next()
		done := make(chan error, 1)
		go func() { done <- w.read() }()
		require.EqualValues(t, 0, <-c.sent)
		var rev zodb.Tid
		taking := watch.Take(0, func(r zodb.Tid, _ time.Time) bool { rev = r; return true })
		require.Equal(t, live.Taken, taking)
		require.Equal(t, packed, rev)
		watch.Acked(0)
		require.NoError(t, <-done)
		w.wantPage(last)
		require.Empty(t, c.lost)
		watch.Drop()
	})
}

// TestWatchOfAViewThatIsIncompleteIsRefused also when the file can still be opened there.
func TestWatchOfAViewThatIsIncompleteIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPackedWorld(t)
		first := w.tid
		second := w.next()
		w.next()
		w.db.pack(second)
		var packed *storage.PackedError
		c := &parkedClient{make(chan int64, 10)}
		err := w.file.Watch(t.Context(), c, first, nil, func(*live.Watch) { t.Error("registered") })
		require.ErrorAs(t, err, &packed)
		var watch *live.Watch
		require.NoError(t, w.file.Watch(t.Context(), c, second, nil, func(x *live.Watch) { watch = x }))
		require.ErrorAs(t, watch.Move(t.Context(), first), &packed)
		watch.Drop()
	})
}

// TestReadOvertakenByPacksWaitsForTheNextView has packs up to a transaction that is not
// taken in yet.
func TestReadOvertakenByPacksWaitsForTheNextView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPackedWorld(t)
		last := w.commit()
		w.db.pack(last)
		done := make(chan error, 1)
		go func() { done <- w.read() }()
		synctest.Wait()
		require.Empty(t, done)
		w.follow()
		require.NoError(t, <-done)
		w.wantPage(last)
	})
}

// TestCommitsOvertakenByPacksAreTakenIn has two packs while commits wait to be taken in:
// of the views between nothing can be told, but of the last one.
func TestCommitsOvertakenByPacksAreTakenIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPackedWorld(t)
		require.NoError(t, w.read())
		for range 3 {
			w.commit()
		}
		w.db.pack(w.tid)
		for range 3 {
			w.follow()
		}
		require.Equal(t, w.tid, w.head.At())
		require.NoError(t, w.read())
		w.wantPage(w.tid)
		last := w.next()
		require.NoError(t, w.read())
		w.wantPage(last)
	})
}

// TestDatabaseIsToldWhichViewsAreInUse wants it to know of the oldest watch, and of what
// a watch may still be set up at.
func TestDatabaseIsToldWhichViewsAreInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPackedWorld(t)
		first := w.tid
		require.Equal(t, first, w.db.kept)
		c := &parkedClient{make(chan int64, 10)}
		var watch *live.Watch
		require.NoError(t, w.file.Watch(t.Context(), c, first, nil, func(x *live.Watch) { watch = x }))
		for range 200 {
			w.next()
		}
		require.LessOrEqual(t, w.db.kept, first)
		watch.Drop()
		last := w.next()
		require.Greater(t, w.db.kept, first)
		require.LessOrEqual(t, last.Time().Sub(w.db.kept.Time().Time), time.Minute+time.Second)
	})
}
