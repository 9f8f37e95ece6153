package live

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func TestSizeAfterRepairOfARegisteredLeaf(t *testing.T) {
	s := told(t, "T/B0:a,1:b")
	r := s.follow(t, 1)
	require.NoError(t, r.serve([]int64{0, 1}, 3))
	txn := s.db.begin()
	leaf := txn.New()
	txn.Store(s.file.Root, btree.EncodeTree(btree.LO, false, []zodb.Oid{leaf}, nil, leaf))
	txn.Store(leaf, btree.EncodeBucket(btree.LO, []int64{1}, []btree.Ref{s.file.Values("a")}, 0))
	require.NoError(t, r.commit(t, txn).broken)
	require.Equal(t, int64(2*storyBlkSize), r.f.blocks.Size)
	txn.Store(leaf, []byte("junk"))
	require.Error(t, r.commit(t, txn).broken)
	txn.Store(leaf, btree.EncodeBucket(btree.LO, []int64{6}, []btree.Ref{s.file.Values("a")}, 0))
	d := r.commit(t, txn)
	require.NoError(t, d.broken)
	require.Equal(t, int64(7*storyBlkSize), r.f.blocks.Size, "head is published with the old size")
	require.NoError(t, r.serve([]int64{6}, 3))
	r.f.mu.Lock()
	view := r.f.blocks.View
	r.f.mu.Unlock()
	rev, err := r.f.BlkRevAt(t.Context(), 6, view)
	require.NoError(t, err)
	require.Equal(t, versions.Rev{Tid: view, Exact: true}, rev)
}

// gated holds the first load until gate is closed.
type gated struct {
	storage.Loader
	once sync.Once
	in   chan struct{}
	gate chan struct{}
}

func (g *gated) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	g.once.Do(func() { close(g.in) })
	<-g.gate
	return g.Loader.Load(ctx, xid)
}

// One may ask for a node as a file while another loads it as a node.
func TestLoadOfOneObjectAsTwoKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := told(t, "T/B0:a,1:b")
		g := &gated{Loader: s.db, in: make(chan struct{}), gate: make(chan struct{})}
		o := versions.NewObjects(t.Context(), g, s.db.head, 1<<20)
		defer o.Close()
		xid := zodb.Xid{At: s.db.head, Oid: s.file.Root}
		go o.File(t.Context(), xid) // a client stats @rev/bigfile/<oid of a node>
		<-g.in
		res := make(chan error)
		go func() { _, _, err := o.Node(t.Context(), xid); res <- err }() // READ or commit
		synctest.Wait()
		close(g.gate)
		require.NoError(t, <-res)
	})
}
