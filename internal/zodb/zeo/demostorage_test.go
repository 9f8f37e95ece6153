package zeo

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/demostorage"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// TestServerOverServerAnswersLikeTheModel has a database of one server over that of another
// one. Servers do not tell deleted objects from those that never were: where the delta has
// deleted an object that the base has, that shows again, since the deletion.
func TestServerOverServerAnswersLikeTheModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	lower, upper := newServer(t, "6", "M", ""), newServer(t, "5", "Z", "")
	inBase, inDelta := lower.writer(), upper.writer()
	base, delta, seen := storagetest.NewModel(), storagetest.NewModel(), storagetest.NewModel()
	random := func(m *storagetest.Model) storagetest.Txn {
		txn := m.RandomTxn(rnd, 10)
		// The cache of a Python client does not take them.
		txn.Records = slices.DeleteFunc(txn.Records, func(r storagetest.Record) bool { return r.Oid >= 1<<63 })
		return txn
	}
	for tid := range zodb.Tid(20) {
		txn := random(base)
		txn.Tid = tid + 1
		inBase.CommitTxn(txn)
		base.Commit(txn)
		seen.Commit(txn)
	}
	commit := func() {
		txn := random(delta)
		inDelta.CommitTxn(txn)
		delta.Commit(txn)
		for i, r := range txn.Records {
			if r.Data == nil {
				txn.Records[i].Data, _, _ = base.Load(zodb.Xid{At: zodb.TidMax, Oid: r.Oid})
			}
		}
		seen.Commit(txn)
	}
	for range 30 {
		commit()
	}
	drivers := storage.Drivers{"zeo": Open}
	drivers["demo"] = demostorage.Opener(drivers)
	url := func(s *server) string { return "zeo://localhost/?unix=" + s.addr.Address }
	s, at0, err := drivers.Open(t.Context(), "demo:("+url(lower)+")/("+url(upper)+")", storage.Options{})
	require.NoError(t, err)
	defer s.Close()
	require.Equal(t, delta.Head(), at0)
	checkViews(t, s, seen)
	for range 20 {
		commit()
		ev, err := s.NextEvent(t.Context())
		require.NoError(t, err)
		txn := seen.Txns[len(seen.Txns)-1]
		require.Equal(t, txn.Tid, ev.Tid)
		require.Equal(t, append([]zodb.Oid{}, txn.Oids()...), append([]zodb.Oid{}, ev.Oids...))
	}
	checkViews(t, s, seen)
	require.True(t, s.(storage.Reachable).Reach().Up)
	upper.kill()
	require.Eventually(t, func() bool { return !s.(storage.Reachable).Reach().Up }, time.Minute, 10*time.Millisecond)
	require.ErrorContains(t, s.(storage.Reachable).Reach().Err, "delta: ")
	requireNoComplaint(t, lower)
	requireNoComplaint(t, upper)
}

// checkViews loads every object at every view, with many loads under way.
func checkViews(t *testing.T, s storage.Storage, m *storagetest.Model) {
	var group errgroup.Group
	group.SetLimit(32)
	for _, oid := range append(m.Oids(), 41) {
		for _, txn := range m.Txns {
			for _, at := range []zodb.Tid{txn.Tid - 1, txn.Tid} {
				group.Go(func() error { return storagetest.CheckLoad(t.Context(), s, m, zodb.Xid{At: at, Oid: oid}) })
			}
		}
	}
	require.NoError(t, group.Wait())
}
