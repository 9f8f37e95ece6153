package versions

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// history is a database in full: what each transaction stored, 0 for a
// deletion. It is the model, and the storage that is loaded from.
type history struct {
	mu   sync.Mutex
	head zodb.Tid
	revs map[zodb.Oid][]stored // ascending
	gate chan struct{}         // a load waits for it before it returns; nil: it does not
}

type stored struct {
	tid   zodb.Tid
	value uint64
}

func (h *history) commit(tid zodb.Tid, values map[zodb.Oid]uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.head = tid
	for oid, value := range values {
		h.revs[oid] = append(h.revs[oid], stored{tid, value})
	}
}

// at returns what view at sees of oid; the zero value if it was never there.
func (h *history) at(oid zodb.Oid, at zodb.Tid) (found stored) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.revs[oid] {
		if s.tid <= at {
			found = s
		}
	}
	return found
}

func (h *history) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	s := h.at(xid.Oid, xid.At)
	if h.gate != nil {
		<-h.gate
	}
	switch {
	case len(h.revs[xid.Oid]) == 0:
		return nil, 0, &zodb.NoObjectError{Oid: xid.Oid}
	case s.value == 0:
		return nil, 0, &zodb.NoDataError{Oid: xid.Oid, DeletedAt: s.tid}
	}
	buf := storage.NewBuf(8)
	binary.BigEndian.PutUint64(buf.Data, s.value)
	return buf, s.tid, nil
}

// number is a decoded object of the model.
type number uint64

func (n number) MemSize() int { return int(n % 500) }

func decodeNumber(data []byte) (object, error) {
	return number(binary.BigEndian.Uint64(data)), nil
}

// check panics unless all that must hold of o holds.
func (o *Objects) check(h *history) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	bytes, count := int64(0), 0
	for oid, revs := range o.cached {
		for i, rev := range revs {
			bytes += rev.memSize()
			count++
			if rev.from > rev.until || i > 0 && revs[i-1].until >= rev.from {
				return fmt.Errorf("object %s: intervals not disjoint and ascending", oid)
			}
			for at := rev.from; at <= min(rev.until, o.head); at++ {
				want := h.at(oid, at)
				if (rev.obj == nil) != (want.value == 0) || rev.obj != nil && (rev.obj != number(want.value) || rev.serial != want.tid) {
					return fmt.Errorf("object %s @%d: cached %v of %d, is %v of %d", oid, at, rev.obj, rev.serial, want.value, want.tid)
				}
			}
		}
	}
	for oid, tids := range o.changes {
		if len(tids) == 0 || tids[0] <= o.tail || tids[len(tids)-1] > o.head {
			return fmt.Errorf("object %s: changes %v are not in (%d, %d]", oid, tids, o.tail, o.head)
		}
	}
	if bytes != o.bytes || bytes > o.budget || count != o.used.Len() {
		return fmt.Errorf("accounting: %d bytes in %d revisions; said %d (budget %d) in %d", bytes, count, o.bytes, o.budget, o.used.Len())
	}
	return nil
}

// TestEveryViewSeesItsOwnRevision runs random commits, loads at random views,
// cuts of history and evictions against the full history.
func TestEveryViewSeesItsOwnRevision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{revs: make(map[zodb.Oid][]stored)}
		tid := zodb.Tid(0)
		oids := rapid.Uint64Range(1, 5)
		commit := func() map[zodb.Oid]uint64 {
			tid += zodb.Tid(rapid.IntRange(1, 2).Draw(t, "step"))
			values := make(map[zodb.Oid]uint64)
			for range rapid.IntRange(0, 3).Draw(t, "objects") {
				values[zodb.Oid(oids.Draw(t, "oid"))] = rapid.Uint64Range(0, 2000).Draw(t, "value")
			}
			h.commit(tid, values)
			return values
		}
		for range rapid.IntRange(0, 5).Draw(t, "commits before") {
			commit()
		}
		budget := rapid.Int64Range(0, 3000).Draw(t, "budget")
		o := NewObjects(t.Context(), h, tid, budget)
		defer o.Close()
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				var changed []zodb.Oid
				for oid := range commit() {
					changed = append(changed, oid)
				}
				o.Append(tid, changed)
			},
			"load": func(t *rapid.T) {
				at := zodb.Tid(rapid.Uint64Range(0, uint64(tid)).Draw(t, "at"))
				oid := zodb.Oid(oids.Draw(t, "oid"))
				rev, err := o.get(t.Context(), loadKey{xid: zodb.Xid{At: at, Oid: oid}}, decodeNumber)
				require.NoError(t, err)
				want := h.at(oid, at)
				if want.value == 0 {
					require.Nil(t, rev.obj)
				} else {
					require.Equal(t, number(want.value), rev.obj)
				}
				require.Equal(t, want.tid, rev.serial)
			},
			"forget": func(t *rapid.T) {
				o.Forget(zodb.Tid(rapid.Uint64Range(0, uint64(tid)).Draw(t, "cut")))
			},
			"": func(t *rapid.T) { require.NoError(t, o.check(h)) },
		})
	})
}

// TestLoadRacedByCommitIsNotTakenForCurrent starts a load, commits a change of
// the object while it is under way, and asks again at the new view.
func TestLoadRacedByCommitIsNotTakenForCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &history{revs: make(map[zodb.Oid][]stored), gate: make(chan struct{})}
		h.commit(1, map[zodb.Oid]uint64{7: 70})
		o := NewObjects(t.Context(), h, 1, 1<<20)
		defer o.Close()
		done := make(chan *revision)
		go func() {
			rev, err := o.get(t.Context(), loadKey{xid: zodb.Xid{At: 1, Oid: 7}}, decodeNumber)
			require.NoError(t, err)
			done <- rev
		}()
		synctest.Wait() // the old revision is read, but not in the cache yet
		h.commit(2, map[zodb.Oid]uint64{7: 71})
		o.Append(2, []zodb.Oid{7})
		close(h.gate)
		require.Equal(t, number(70), (<-done).obj)
		rev, err := o.get(t.Context(), loadKey{xid: zodb.Xid{At: 2, Oid: 7}}, decodeNumber)
		require.NoError(t, err)
		require.Equal(t, number(71), rev.obj)
		require.NoError(t, o.check(h))
	})
}

// loads7 asks for object 7 at views and returns how often it was loaded.
func (o *Objects) loads7(t *testing.T, views ...zodb.Tid) uint64 {
	before := o.CacheStats().Misses
	for _, at := range views {
		_, err := o.get(t.Context(), loadKey{xid: zodb.Xid{At: at, Oid: 7}}, decodeNumber)
		require.NoError(t, err)
	}
	return o.CacheStats().Misses - before
}

// TestOneLoadAnswersAllViewsOfARevision includes the last one, and what is left
// of them when the past is forgotten.
func TestOneLoadAnswersAllViewsOfARevision(t *testing.T) {
	h := &history{revs: make(map[zodb.Oid][]stored)}
	h.commit(1, map[zodb.Oid]uint64{7: 70})
	o := NewObjects(t.Context(), h, 1, 1<<20)
	defer o.Close()
	require.EqualValues(t, 1, o.loads7(t, 1, 1))
	o.Append(2, []zodb.Oid{8})
	require.Zero(t, o.loads7(t, 1, 2))
	h.commit(3, map[zodb.Oid]uint64{7: 71})
	o.Append(3, []zodb.Oid{7})
	require.EqualValues(t, 1, o.loads7(t, 1, 2, 3, 3))
	h.commit(5, map[zodb.Oid]uint64{7: 72})
	o.Append(5, []zodb.Oid{7})
	o.Forget(4)
	require.Zero(t, o.loads7(t, 3, 4))
	require.EqualValues(t, 1, o.loads7(t, 2), "nothing is kept of views before")
}

// TestViewBelowTheTailIsLoadedForItselfOnly also wants that what is loaded at
// the tail later is current for all.
func TestViewBelowTheTailIsLoadedForItselfOnly(t *testing.T) {
	h := &history{revs: make(map[zodb.Oid][]stored)}
	h.commit(1, map[zodb.Oid]uint64{7: 70})
	o := NewObjects(t.Context(), h, 5, 1<<20)
	defer o.Close()
	require.EqualValues(t, 1, o.loads7(t, 3, 3, 2))
	require.EqualValues(t, 1, o.loads7(t, 5, 5, 4))
	o.Append(6, []zodb.Oid{8})
	require.Zero(t, o.loads7(t, 6))
}

// always has a revision of each object at every view: that view.
type always struct{ data []byte }

func (a always) Load(_ context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	buf := storage.NewBuf(len(a.data))
	copy(buf.Data, a.data)
	return buf, xid.At, nil
}

// TestLoadThatMeetsACommitIsNotTakenForWhatFollows loads a node while it changes, again
// and again. Whichever comes first, the new view sees the new node.
func TestLoadThatMeetsACommitIsNotTakenForWhatFollows(t *testing.T) {
	const oid zodb.Oid = 7
	o := NewObjects(t.Context(), always{btree.EncodeBucket(btree.LO, nil, nil, 0)}, 1, 1<<20)
	defer o.Close()
	for tid := zodb.Tid(1); tid < 20_000; tid++ {
		var load sync.WaitGroup
		load.Go(func() {
			if _, serial, err := o.Node(t.Context(), zodb.Xid{At: tid, Oid: oid}); err != nil || serial != tid {
				t.Errorf("@%s: serial @%s, %v", tid, serial, err)
			}
		})
		runtime.Gosched()
		o.Append(tid+1, []zodb.Oid{oid})
		load.Wait()
		if rev := o.lookup(zodb.Xid{At: tid + 1, Oid: oid}); rev != nil {
			t.Fatalf("@%s: of @%s is cached for @%s", tid+1, rev.serial, rev.until)
		}
		o.Forget(tid)
	}
}
