package storagetest

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sync/errgroup"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// loadMany asks the storage itself if it can load many objects at once.
func loadMany(ctx context.Context, stor storage.Storage, xids []zodb.Xid) []storage.Loaded {
	if many, ok := storage.Many(stor); ok && len(xids) <= storage.MaxMany {
		return many.LoadMany(ctx, xids)
	}
	return storage.LoadMany(ctx, stor, xids)
}

// randomXids returns n objects and views, of which some are beyond head, never were, or are
// there twice.
func (b *bench) randomXids(n int) []zodb.Xid {
	oids, views := append(b.model.Oids(), unknownOids...), b.model.views()
	xids := make([]zodb.Xid, n)
	for i := range xids {
		xids[i] = zodb.Xid{At: views[b.rnd.IntN(len(views))], Oid: oids[b.rnd.IntN(len(oids))]}
		if i > 0 && b.rnd.IntN(4) == 0 {
			xids[i] = xids[b.rnd.IntN(i)]
		}
	}
	return xids
}

// checkMany compares the answers with the model, and releases what was loaded. Two answers
// may not share a reference: the second release would be one too many.
func checkMany(m *Model, xids []zodb.Xid, all []storage.Loaded) error {
	if len(all) != len(xids) {
		return errors.New("there is not one answer for each object")
	}
	for i, got := range all {
		if _, err := checkLoaded(m, xids[i], got); err != nil {
			return err
		}
	}
	for _, got := range all {
		if got.Buf != nil {
			got.Buf.Release()
		}
	}
	return nil
}

func testLoadMany(t *testing.T, b *bench) {
	b.commitRandom(60)
	stor, _ := b.open()
	for _, n := range []int{0, 1, 2, 100, storage.MaxMany, storage.MaxMany + 1} {
		xids := b.randomXids(n)
		if err := checkMany(b.model, xids, loadMany(b.ctx, stor, xids)); err != nil {
			t.Fatalf("%d objects: %v", n, err)
		}
	}
	b.commitRandom(20) // later answers have what came meanwhile
	if _, err := stor.Sync(b.ctx); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for range 8 {
		xids := b.randomXids(1 + b.rnd.IntN(50))
		g.Go(func() error { return checkMany(b.model, xids, loadMany(b.ctx, stor, xids)) })
	}
	if err := g.Wait(); err != nil {
		t.Fatalf("several calls at a time: %v", err)
	}
}

func testLoadManyEnds(t *testing.T, b *bench) {
	b.commitRandom(20)
	stor, _ := b.open()
	xids := []zodb.Xid{{At: b.model.Head(), Oid: b.model.Oids()[0]}, {At: b.model.Head(), Oid: unknownOids[0]}}
	all := func(ctx context.Context, want error) {
		t.Helper()
		for i, got := range loadMany(ctx, stor, xids) {
			if got.Buf != nil || !errors.Is(got.Err, want) {
				t.Errorf("load %s: %v; want %v", xids[i], got.Err, want)
			}
		}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	all(ctx, context.Canceled)
	for range 100 { // cancelled at any moment, it ends, and the next one works
		ctx, cancel := context.WithCancel(b.ctx)
		var g errgroup.Group
		g.Go(func() error { cancel(); return nil })
		loadMany(ctx, stor, xids)
		_ = g.Wait()
		if err := checkMany(b.model, xids, loadMany(b.ctx, stor, xids)); err != nil {
			t.Fatal(err)
		}
	}
	if err := stor.Close(); err != nil {
		t.Fatal(err)
	}
	all(b.ctx, storage.ErrClosed)
}
