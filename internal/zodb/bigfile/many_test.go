package bigfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// database returns a database with what was written.
func (f *writing) database(many bool) *mem.Storage {
	db := mem.New()
	db.AnswerMany(many)
	db.Commit(1, f.txn.recs)
	return db
}

// zblk returns the object of a block.
func (f *writing) zblk(blk int64) zodb.Oid {
	f.Helper()
	src := Direct{btree.Direct{Loader: TxnLoader{f.txn}}}
	file, _, err := src.File(f.Context(), zodb.Xid{At: 1, Oid: f.oid})
	require.NoError(f, err)
	found, err := btree.Lookup(f.Context(), src, file.Table, 1, blk)
	require.NoError(f, err)
	require.True(f, found.OK)
	return found.Value
}

// noise returns n bytes of which none is zero.
func noise(n int) []byte {
	rnd, data := rand.New(rand.NewPCG(1, 2)), make([]byte, n)
	for i := range data {
		data[i] = byte(1 + rnd.IntN(255))
	}
	return data
}

// TestZBlk1IsFourQuestions: the object of the block, its chunk table, all buckets of that, all
// chunks. Each object is loaded once.
func TestZBlk1IsFourQuestions(t *testing.T) {
	data := noise(2 << 20)
	f := newWriting(t, int64(len(data)))
	f.commit(FormatZBlk1, 0, data)
	zblk := f.zblk(0)
	objects := len(f.txn.recs) - 2 // without the file and its block table
	require.Greater(t, objects, 512+2+8, "many chunks, and a table with many buckets")
	for _, many := range []bool{false, true} {
		db := f.database(many)
		block, err := LoadBlock(t.Context(), db, zblk, 1, int64(len(data)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, block.Data))
		block.Release()
		require.EqualValues(t, objects, db.Loads())
		if many {
			require.EqualValues(t, 4, db.Questions())
		}
	}
}

// TestLargeZBlk1IsFewQuestions, and none of them is for more objects than may be.
func TestLargeZBlk1IsFewQuestions(t *testing.T) {
	data := noise(5<<20 + 1)
	f := newWriting(t, 8<<20)
	f.commit(FormatZBlk1, 0, data)
	db := f.database(true)
	block, err := LoadBlock(t.Context(), db, f.zblk(0), 1, 8<<20)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, block.Data))
	block.Release()
	require.EqualValues(t, 3+2, db.Questions(), "1281 chunks are two")
}

// TestDamagedBucketsGiveTheErrorOfTheFirst, wherever they are among those that are loaded.
func TestDamagedBucketsGiveTheErrorOfTheFirst(t *testing.T) {
	f := newWriting(t, 1<<20)
	f.commit(FormatZBlk1, 0, noise(1<<20))
	zblk := f.zblk(0)
	state, err := f.w.blockState(zblk)
	require.NoError(t, err)
	root, _, err := btree.Load(t.Context(), TxnLoader{f.txn}, zodb.Xid{Oid: state.chunks})
	require.NoError(t, err)
	buckets := root.Oids()
	require.Greater(t, len(buckets), 4)
	for _, many := range []bool{false, true} {
		for _, damaged := range [][]int{{0}, {2, 1}, {len(buckets) - 1}} {
			for _, gone := range []bool{false, true} {
				db := f.database(many)
				records, first := make(map[zodb.Oid][]byte), buckets[min(damaged[0], damaged[len(damaged)-1])]
				for _, i := range damaged {
					records[buckets[i]] = []byte("garbage")
					if gone {
						records[buckets[i]] = nil
					}
				}
				db.Commit(2, records)
				_, err := LoadBlock(t.Context(), db, zblk, 2, 1<<20)
				var corrupt *storage.CorruptError
				require.ErrorAs(t, err, &corrupt)
				require.Equal(t, first, corrupt.Oid)
				require.False(t, storage.IsNoData(err))
			}
		}
	}
}

// TestBlocksThatAreBegunTogetherAreWhatEachIsAlone, damage and holes included.
func TestBlocksThatAreBegunTogetherAreWhatEachIsAlone(t *testing.T) {
	f := newWriting(t, 8192)
	f.commit(FormatZBlk0, 0, noise(100))
	f.commit(FormatZBlk1, 1, noise(8000))
	f.commit(FormatZBlk1, 2, noise(1))
	f.commit(FormatZBlk0, 3, noise(8192))
	damaged, gone := f.txn.New(), f.txn.New()
	f.txn.recs[damaged] = encodeBytes(record.ZData, nil)
	mine := errors.New("mine")
	places := []Place{{Err: mine}, {Block: &Block{}}}
	for _, oid := range []zodb.Oid{f.zblk(0), f.zblk(1), f.zblk(2), damaged, gone, f.zblk(3), f.zblk(0)} {
		places = append(places, Place{ZBlk: oid, At: 1, BlkSize: 8192})
	}
	places = append(places, Place{ZBlk: f.zblk(3), At: 1, BlkSize: 100})
	db := f.database(true)
	begun := BeginBlocks(t.Context(), db, places)
	require.EqualValues(t, 1, db.Questions())
	for i, b := range begun {
		rest := b.Rest
		if rest == nil {
			rest = func(context.Context) (*Block, error) { return b.Value, b.Err }
		}
		block, err := rest(t.Context())
		want, wantErr := places[i].Load(t.Context(), db)
		require.Equal(t, fmt.Sprint(wantErr), fmt.Sprint(err))
		require.Equal(t, want == nil, block == nil)
		if want != nil {
			require.True(t, bytes.Equal(want.Data, block.Data))
			require.Equal(t, want.Serial, block.Serial)
			block.Release()
			want.Release()
		}
	}
}

// TestTableThatIsTooBigIsLoadedNodeByNode: what does not fit in memory ahead of the walk is
// there all the same, and loads that were given up are no damage.
func TestTableThatIsTooBigIsLoadedNodeByNode(t *testing.T) {
	data := noise(1 << 20)
	f := newWriting(t, 1<<20)
	f.commit(FormatZBlk1, 0, data)
	zblk := f.zblk(0)
	state, err := f.w.blockState(zblk)
	require.NoError(t, err)
	root, _, err := btree.Load(t.Context(), TxnLoader{f.txn}, zodb.Xid{Oid: state.chunks})
	require.NoError(t, err)
	for _, oid := range root.Oids()[:2] {
		data := fatBucket(t, f.txn.recs[oid], 100_000)
		require.Greater(t, len(data), maxTableAhead/2)
		require.Less(t, len(data), maxTableAhead)
		f.txn.recs[oid] = data
	}
	for _, many := range []bool{false, true} {
		db := f.database(many)
		block, err := LoadBlock(t.Context(), db, zblk, 1, 1<<20)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, block.Data))
		block.Release()
		if many { // the second bucket and what follows it are asked for again
			require.EqualValues(t, 4+len(root.Oids())-1, db.Questions())
		}
	}
}

// fatBucket returns a bucket with the items of another one, and with extra ones that it maps in
// vain: they are behind all that is routed to it.
func fatBucket(t *testing.T, data []byte, extra int) []byte {
	n, err := btree.Decode(data)
	require.NoError(t, err)
	var e record.Encoder
	e.Reset(record.IOBucket)
	e.BeginTuple(1)
	e.BeginTuple(2 * (len(n.Keys()) + extra))
	for i, key := range n.Keys() {
		e.Int(key)
		e.Ref(n.Oids()[i], record.ZData)
	}
	for i := range extra {
		e.Int(int64(1<<30 + i))
		e.Ref(zodb.Oid(1<<40+i), record.ZData)
	}
	e.EndTuple(2 * (len(n.Keys()) + extra))
	e.EndTuple(1)
	return e.Record()
}
