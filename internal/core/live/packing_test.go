package live

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// packingRecords is the database of a story that is packed when a record is loaded.
type packingRecords struct {
	*records
	complete zodb.Tid
	onLoad   func(xid zodb.Xid)
}

func (p *packingRecords) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	if p.onLoad != nil {
		p.onLoad(xid)
	}
	if xid.At < p.complete {
		rev, err := p.at(zodb.Xid{At: p.complete, Oid: xid.Oid})
		if err == nil && rev.tid > xid.At {
			return nil, 0, &storage.PackedError{Xid: xid, PackTime: p.complete}
		}
	}
	return p.records.Load(ctx, xid)
}

func (p *packingRecords) Packs() (complete, newest zodb.Tid) { return p.complete, p.complete }
func (p *packingRecords) Keep(zodb.Tid)                      {}

// packing follows a story at step at over a database that can be packed. Nothing is
// cached.
func (s *story) packing(t *testing.T, at int) (*reader, *packingRecords) {
	db := &packingRecords{records: s.db}
	r := &reader{ctx: t.Context(), s: s, at: at, objs: versions.NewObjects(t.Context(), db, s.steps[at].tid, 0)}
	t.Cleanup(r.objs.Close)
	r.h = headOf(t, r.objs, db, 0)
	require.NoError(t, r.open())
	return r, db
}

// TestRevisionIsLookedForAnewWhenAPackComesInBetween packs when the first past view is
// loaded, so that what is met there is gone.
func TestRevisionIsLookedForAnewWhenAPackComesInBetween(t *testing.T) {
	s := told(t, "T/B1:a,2:b", "T/B1:a,2:c", "T/B1:a,2:d")
	last, packed := s.steps[3].tid, s.steps[2].tid
	r, _ := s.packing(t, 3)
	rev, err := r.f.BlkRevAt(t.Context(), 1, last)
	require.NoError(t, err)
	require.Equal(t, versions.Rev{Tid: s.steps[1].tid, Exact: true}, rev)

	r, db := s.packing(t, 3)
	db.onLoad = func(xid zodb.Xid) {
		if xid.At < last {
			db.complete = packed
		}
	}
	rev, err = r.f.BlkRevAt(t.Context(), 1, last)
	require.NoError(t, err)
	require.Equal(t, versions.Rev{Tid: packed, Exact: false}, rev)
}

// TestRevisionOfAServedBlockIsLookedForWhereAPackHasLeftIt has a block that did not
// change since it was served, at a view that is packed away when it is asked about.
func TestRevisionOfAServedBlockIsLookedForWhereAPackHasLeftIt(t *testing.T) {
	s := told(t, "T/B1:a,2:b", "T/B1:a,2:c", "T/B1:a,2:d")
	last := s.steps[3].tid
	r, db := s.packing(t, 2)
	require.NoError(t, r.serve([]int64{1}, 1))
	require.NoError(t, r.next())
	db.onLoad = func(zodb.Xid) { db.complete = last }
	rev, err := r.f.BlkRevAt(t.Context(), 1, last)
	require.NoError(t, err)
	require.Equal(t, versions.Rev{Tid: last, Exact: false}, rev)
	var gone *storage.PackedError
	_, err = r.f.BlkRevAt(t.Context(), 1, s.steps[2].tid)
	require.ErrorAs(t, err, &gone)
	require.Equal(t, last, gone.PackTime)
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	known, ok := r.f.known(1, last)
	require.True(t, ok)
	require.Equal(t, versions.Rev{Tid: last, Exact: false}, known)
	_, ok = r.f.known(1, s.steps[2].tid)
	require.False(t, ok)
}

// TestMissingObjectsOfIncompleteViews tells apart what is gone from what is not there.
func TestMissingObjectsOfIncompleteViews(t *testing.T) {
	s := told(t, "T/B1:a")
	txn := s.db.begin()
	deleted := txn.New()
	txn.Store(deleted, []byte("x"))
	txn.commit()
	clear(txn.pending)
	txn.Delete(deleted)
	tid, _ := txn.commit()
	r, db := s.packing(t, 1)
	r.objs.Append(tid, nil)
	db.complete = tid + 1
	const unknown zodb.Oid = 1 << 40
	var gone *storage.PackedError
	for at, want := range map[zodb.Tid]bool{tid: true, tid + 1: false} {
		_, _, err := r.objs.Node(t.Context(), zodb.Xid{At: at, Oid: unknown})
		if want {
			require.ErrorAs(t, err, &gone, "a node is referred to, so it was there")
		} else {
			require.NoError(t, err)
		}
		_, _, err = r.objs.File(t.Context(), zodb.Xid{At: at, Oid: unknown})
		require.True(t, storage.IsNoData(err), "anybody may ask for any file: %v", err)
		node, serial, err := r.objs.Node(t.Context(), zodb.Xid{At: at, Oid: deleted})
		require.NoError(t, err, "it is known that it was deleted")
		require.Equal(t, btree.Empty, node)
		require.Equal(t, tid, serial)
	}
}

// TestNodeThatIsGoneMayHaveRoutedEverything has a commit whose old view is packed away
// before it is taken in: all that the node routed counts as changed, as long as it is
// not known.
func TestNodeThatIsGoneMayHaveRoutedEverything(t *testing.T) {
	s := told(t, "T/B1:a,2:b,3:c", "T/B1:a,2:d")
	r, db := s.packing(t, 1)
	require.NoError(t, r.serve([]int64{1, 2, 3, 4}, 15))
	db.complete = s.steps[2].tid
	require.NoError(t, r.next(), "exactly what changed: all are looked up")
}
