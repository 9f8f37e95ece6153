package naming

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
)

// TestNothingIsLoadedThatNobodyAskedFor: a listing costs the records that it needs, once.
func TestNothingIsLoadedThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.root("f", w.items("g", w.items("a", w.array(1))), "file", w.file(), "thing", w.add(appClass, dict{"a", w.array(1)}), "a", w.array(1), "b", w.array(1))
	at := w.commit()
	var loads atomic.Int64
	w.stor.OnLoad(func(context.Context, zodb.Xid) error { loads.Add(1); return nil })
	costs := func(want int64, f func() error) {
		t.Helper()
		loads.Store(0)
		require.NoError(t, f())
		require.Equal(t, want, loads.Load())
	}
	list := func(dir string) func() error {
		return func() error { _, err := w.tree.List(t.Context(), at, dir); return err }
	}
	find := func(path string) func() error {
		return func() error { _, err := w.tree.Find(t.Context(), at, path); return err }
	}
	costs(0, func() error { return nil })
	costs(1, find("f"))
	costs(1, find("a"))
	costs(0, find("file"))
	costs(2, list("")) // thing and b
	costs(0, list(""))
	costs(0, find("b"))
	costs(1, list("f"))
	costs(2, find("f/g/a"))
	costs(0, find("f/g/a"))
}

// TestOneLoadForAllWhoAsk: a hundred who look up names of one directory load it once.
func TestOneLoadForAllWhoAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var items []any
		for i := range 100 {
			items = append(items, fmt.Sprint(i), w.items())
		}
		w.root(items...)
		at := w.commit()
		var loads atomic.Int64
		gate := make(chan struct{})
		w.stor.OnLoad(func(context.Context, zodb.Xid) error { loads.Add(1); <-gate; return nil })
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				item, err := w.tree.Find(t.Context(), at, fmt.Sprint(i))
				require.NoError(t, err)
				require.True(t, item.Dir)
			})
		}
		synctest.Wait()
		close(gate)
		all.Wait()
		require.EqualValues(t, 1, loads.Load())
		w.tree.Close()
	})
}

// TestMemoryIsBounded: listings of many views and objects go when others come.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 30 {
		names := maxCached / 10
		l := &listing{oid: zodb.Oid(i), root: &directory{}, names: names}
		w.tree.keep(zodb.Xid{At: 1, Oid: l.oid}, l)
		w.tree.keep(zodb.Xid{At: 1, Oid: l.oid}, l)
		require.LessOrEqual(t, w.tree.names, maxCached)
		require.Equal(t, min(i+1, 9), w.tree.listings.Len())
	}
	w.tree.keep(zodb.Xid{At: 2}, &listing{root: &directory{}, names: 2 * maxCached})
	require.Equal(t, 1, w.tree.listings.Len())
	w.tree.keep(zodb.Xid{At: 3}, &listing{root: &directory{}})
	require.Equal(t, (&listing{}).cost(), w.tree.names)
}

// TestTooManyNamesAreAnError that says so.
func TestTooManyNamesAreAnError(t *testing.T) {
	t.Parallel()
	b := building{root: &directory{}, names: maxNames}
	require.ErrorContains(t, b.add(b.root, entry{}), "more than 1000000 names")
}

// TestDeepTreesEnd where no program could open what is below.
func TestDeepTreesEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	next := w.items("file", w.file())
	for range 200 {
		next = w.items(strings.Repeat("x", 100), next)
	}
	w.root("a", next)
	w.commit()
	dir, depth := "", 0
	for {
		items := w.list(dir)
		if len(items) == 0 {
			break
		}
		require.Len(t, items, 1)
		dir = path.Join(dir, items[0].Name)
		depth++
	}
	require.LessOrEqual(t, len(dir), maxPath)
	require.Greater(t, len(dir), maxPath-200)
}

// TestLooksAreShared under the race detector.
func TestLooksAreShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var items []any
	for i := range 50 {
		items = append(items, fmt.Sprint(i), ref{w.array(int64(i)).oid, []record.Class{appClass, record.ZBigArray}[i%2]})
	}
	w.root(items...)
	at := w.commit()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			list, err := w.tree.List(t.Context(), at, "")
			require.NoError(t, err)
			require.Len(t, list, 50)
			for _, item := range list {
				require.True(t, item.NPY)
			}
		})
	}
	all.Wait()
}
