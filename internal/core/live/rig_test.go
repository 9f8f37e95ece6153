package live

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/served"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// newHead returns the newest view of objs, without a kernel. Revisions are looked for
// back to floor. stop ends it.
func newHead(ctx context.Context, objs *versions.Objects, store storage.Loader, floor zodb.Tid) (h *Head, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	loader := bigfile.NewLoader(ctx, 1)
	h = New(ctx, objs.Head(), objs, store, loader, Config{
		MaxServed: math.MaxInt, StuckAfter: time.Minute, KeepHistory: time.Hour, KeepFloor: time.Hour,
		Observer: core.Alone{}, Processes: core.Alone{},
	})
	h.revs.SetFloor(floor)
	return h, func() {
		cancel()
		h.Close()
		loader.Wait()
	}
}

// tellings counts of how much the keeper tells.
type tellings struct {
	core.Alone
	n int
}

func (o *tellings) Preserved(zodb.Oid, zodb.Tid) { o.n++ }

// headOf is newHead for a test.
func headOf(t testing.TB, objs *versions.Objects, store storage.Loader, floor zodb.Tid) *Head {
	h, stop := newHead(t.Context(), objs, store, floor)
	t.Cleanup(stop)
	return h
}

// take takes in a transaction of which the database does not tell.
func (h *Head) take(t testing.TB, tid zodb.Tid, oids []zodb.Oid) *transaction {
	t.Helper()
	tx := h.begin(storage.Event{Tid: tid, Oids: oids})
	require.NoError(t, tx.finish(t.Context()))
	return tx
}

// finish does what is left of a commit that has begun.
func (t *transaction) finish(ctx context.Context) error {
	if err := t.diff(ctx); err != nil {
		return err
	}
	if err := t.switchAll(ctx); err != nil {
		return err
	}
	for _, c := range t.all() {
		if err := c.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// deltaOf returns what t does to f, nil if nothing.
func (t *transaction) deltaOf(f *File) *delta {
	if c := t.byOid[f.Oid]; c != nil && c.file == f {
		return c.delta
	}
	return nil
}

func keysServed(f *File) []int64 { return f.servedIn(math.MinInt64, math.MaxInt64) }

func (h *Head) sizes() (s served.Sizes) {
	h.indexed(func(x *served.Index) { s = x.Sizes() })
	return s
}

// registered returns the nodes that are registered for f.
func (f *File) registered() (nodes map[zodb.Oid]btree.Keys) {
	f.head.indexed(func(x *served.Index) { nodes = x.Registered(f.Oid) })
	return nodes
}
