package fs1

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// TestSerialIsThatOfLoad compares the two for all objects at all views of random
// histories: with deletions, undos, and views between transactions and beyond.
func TestSerialIsThatOfLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t)
	for range 60 {
		r.commit(r.model.RandomTxn(rnd, 12))
	}
	r.mustOpen()
	exist := 0
	for _, txn := range r.model.Txns {
		for _, at := range []zodb.Tid{txn.Tid - 1, txn.Tid, txn.Tid + 1} {
			for _, oid := range append(r.model.Oids(), 1<<40) {
				xid := zodb.Xid{At: at, Oid: oid}
				serial, err := r.Serial(r.ctx, xid)
				buf, want, wantErr := r.Load(r.ctx, xid)
				require.Equal(t, wantErr, err, "%s", xid)
				require.Equal(t, want, serial, "%s", xid)
				if err == nil {
					exist++
					buf.Release()
				}
			}
		}
	}
	require.Greater(t, exist, 100)
}

func TestSerialOfADamagedRecordIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(w *storagetest.FSWriter){
		"oid":           func(w *storagetest.FSWriter) { w.Patch(w.Pos(1), u64(2)) },
		"previous huge": func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+16, u64(1<<63+5)) },
		"truncated":     func(w *storagetest.FSWriter) { w.Truncate(w.Pos(1) + 10) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.commit(put(10, "older", 1, 2))
			r.commit(put(11, "newer", 1))
			r.mustOpen()
			spoil(r.w)
			at := zodb.Tid(11)
			if strings.HasPrefix(name, "previous ") {
				at = 10
			}
			_, err := r.Serial(r.ctx, zodb.Xid{At: at, Oid: 1})
			var corrupt *storage.CorruptError
			if !errors.As(err, &corrupt) || corrupt.Oid != 1 {
				t.Errorf("%v; want a CorruptError", err)
			}
		})
	}
}

func TestSerialOfAClosedStorageIsRefused(t *testing.T) {
	r := newRig(t)
	r.commit(put(10, "x", 1))
	r.mustOpen()
	require.NoError(t, r.Close())
	_, err := r.Serial(r.ctx, zodb.Xid{At: 10, Oid: 1})
	require.ErrorIs(t, err, storage.ErrClosed)
}
