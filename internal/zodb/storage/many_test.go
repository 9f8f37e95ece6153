package storage_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// single is a loader whose loads take a second. The record of an object is its number;
// there are no objects below 0x10.
type single struct {
	mu    sync.Mutex
	loads int            // guarded by mu
	bufs  []*storage.Buf // guarded by mu
}

func (l *single) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	l.mu.Lock()
	l.loads++
	l.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	return l.answer(xid)
}

func (l *single) answer(xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	if xid.Oid < 0x10 {
		return nil, 0, &zodb.NoObjectError{Oid: xid.Oid}
	}
	buf := storage.NewBuf(16)
	copy(buf.Data, xid.Oid.String())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bufs = append(l.bufs, buf)
	return buf, xid.At, nil
}

// many is a ManyLoader that notes how many objects it is asked for.
type many struct {
	single
	asked []int
	not   bool // its parts cannot do that
}

func (l *many) LoadsMany() bool { return !l.not }

func (l *many) LoadMany(_ context.Context, xids []zodb.Xid) []storage.Loaded {
	l.asked = append(l.asked, len(xids))
	all := make([]storage.Loaded, len(xids))
	for i, xid := range xids {
		all[i].Buf, all[i].Serial, all[i].Err = l.answer(xid)
	}
	return all
}

// objects returns n objects from oid on.
func objects(oid zodb.Oid, n int) []zodb.Xid {
	xids := make([]zodb.Xid, n)
	for i := range xids {
		xids[i] = zodb.Xid{At: zodb.Tid(i + 1), Oid: oid + zodb.Oid(i)}
	}
	return xids
}

// requireAnswers requires the answer to each object of xids.
func requireAnswers(t *testing.T, xids []zodb.Xid, all []storage.Loaded) {
	t.Helper()
	require.Len(t, all, len(xids))
	for i, xid := range xids {
		if xid.Oid < 0x10 {
			require.True(t, storage.IsNoData(all[i].Err), "%s: %v", xid, all[i].Err)
			continue
		}
		require.NoError(t, all[i].Err)
		require.Equal(t, xid.Oid.String(), string(all[i].Buf.Data))
		require.Equal(t, xid.At, all[i].Serial)
	}
}

func TestManyObjectsAreFewQuestionsIfTheLoaderCan(t *testing.T) {
	for n, asked := range map[int][]int{0: nil, 1: nil, 2: {2}, 1024: {1024}, 1025: {1024, 1}, 3000: {1024, 1024, 952}} {
		l := &many{}
		synctest.Test(t, func(t *testing.T) {
			requireAnswers(t, objects(0xe, n), storage.LoadMany(t.Context(), l, objects(0xe, n)))
		})
		require.Equal(t, asked, l.asked, "for %d objects", n)
		require.Equal(t, n == 1, l.loads == 1, "one object alone is a Load")
	}
}

func TestManyObjectsAreLoadedSomeAtATimeIfTheLoaderCannot(t *testing.T) {
	for _, l := range []storage.Loader{&single{}, &many{not: true}} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			requireAnswers(t, objects(0xe, 160), storage.LoadMany(t.Context(), l, objects(0xe, 160)))
			require.Equal(t, 10*time.Second, time.Since(began), "16 at a time, a second each")
		})
		if l, ok := l.(*many); ok {
			require.Empty(t, l.asked)
		}
	}
}

// TestEachObjectHasAnAnswerWhenTheContextEnds: one that was not asked for has its error.
func TestEachObjectHasAnAnswerWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		xids := objects(0x10, 100)
		all := storage.LoadMany(ctx, &single{}, xids)
		requireAnswers(t, xids[:16], all[:16])
		for _, got := range all[16:] {
			require.ErrorIs(t, got.Err, context.DeadlineExceeded)
			require.Nil(t, got.Buf)
		}
		cancel()
		for _, got := range storage.LoadMany(ctx, &many{}, xids) {
			require.ErrorIs(t, got.Err, context.DeadlineExceeded)
		}
	})
}

// TestFirstErrorEndsLoadEach, and what nobody took is released.
func TestFirstErrorEndsLoadEach(t *testing.T) {
	mine := errors.New("mine")
	for _, l := range []interface {
		storage.Loader
		all() *single
	}{&single{}, &many{}} {
		t.Run(fmt.Sprintf("%T", l), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				taken := make(map[*storage.Buf]bool)
				err := storage.LoadEach(t.Context(), l, objects(0x10, 1000), func(i int, got storage.Loaded) error {
					mu.Lock()
					defer mu.Unlock()
					if got.Buf != nil {
						taken[got.Buf] = true
					}
					if i == 20 {
						return mine
					}
					return got.Err
				})
				require.ErrorIs(t, err, mine)
				require.Less(t, l.all().loads, 100)
				require.GreaterOrEqual(t, len(taken), 20)
				for _, buf := range l.all().bufs {
					require.Equal(t, taken[buf], !wasReleased(buf))
				}
			})
		})
	}
}

func (l *single) all() *single { return l }

// wasReleased releases a buffer and reports whether somebody else had.
func wasReleased(buf *storage.Buf) (was bool) {
	defer func() { was = recover() != nil }()
	buf.Release()
	return false
}
