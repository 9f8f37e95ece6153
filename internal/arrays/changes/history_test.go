package changes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
	"github.com/wcfs/wcfs/internal/zodb/zwrite/topology"
)

func storeFile(x *memTxn, blksize int64) {
	x.Store(theFile, bigfile.EncodeFile(&bigfile.File{BlkSize: blksize, Table: table0}))
}

func bucket(keys []int64, names string) []byte {
	var values []btree.Ref
	for _, name := range names {
		values = append(values, zblkNamed(string(name)))
	}
	return btree.EncodeBucket(btree.LO, keys, values, 0)
}

func tree(seps []int64, kids ...zodb.Oid) []byte {
	return btree.EncodeTree(btree.LO, false, kids, seps, kids[0])
}

// one returns the only change of the last transaction.
func last(t testing.TB, x *memTxn) *Change {
	t.Helper()
	changes := collect(t, x.db, 0, theFile, x.head-1, x.head)
	require.Len(t, changes, 1)
	return changes[0]
}

// TestWritersAreFollowed compares Log with brute force where blocks are written
// as applications do, in all formats, and the table splits its nodes by itself.
func TestWritersAreFollowed(t *testing.T) {
	seed := rand.Uint64()
	if *seedFlag != 0 {
		seed = *seedFlag
	}
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "Data.fs")
	out, err := zwrite.Create(ctx, path, zwrite.Options{NoSync: true})
	require.NoError(t, err)
	defer out.Close()
	var file zodb.Oid
	const nblk, blksize = 400, 64
	for i := range 60 {
		txn, err := out.Begin(ctx, zwrite.Meta{Tid: zodb.Tid(i + 1)})
		require.NoError(t, err)
		if i == 0 {
			file, err = bigfile.NewFile(txn, blksize)
			require.NoError(t, err)
		} else {
			writeSome(t, txn, file, rnd, nblk, blksize)
		}
		_, err = txn.Commit()
		require.NoError(t, err)
	}
	require.NoError(t, out.Close())
	db, head := openFile(t, path)
	got := collect(t, db, 0, file, 0, head)
	require.Len(t, got, 60)
	require.Equal(t, "created", got[0].Events.String())
	was := viewAt(t, db, 0, file, 1, nblk+1)
	require.NoError(t, db.Iterate(ctx, 2, head, func(txn *storage.Txn) error {
		stored := make(map[zodb.Oid]bool)
		for _, oid := range txn.Oids {
			stored[oid] = true
		}
		is := viewAt(t, db, 0, file, txn.Tid, nblk+1)
		want := compare(was, is, stored)
		want.Tid = txn.Tid
		requireSame(t, want, got[txn.Tid-1], "@%s", txn.Tid)
		was = is
		return nil
	}))
}

func writeSome(t *testing.T, txn *zwrite.Txn, file zodb.Oid, rnd *rand.Rand, nblk, blksize int64) {
	w, err := bigfile.NewWriter(txn, file, bigfile.Format(rnd.IntN(3)))
	require.NoError(t, err)
	blk := rnd.Int64N(nblk)
	for range 1 + rnd.IntN(40) {
		data := make([]byte, rnd.Int64N(blksize+1))
		for i := range data {
			data[i] = byte(rnd.IntN(256))
		}
		require.NoError(t, w.WriteBlock(ctx, min(blk, nblk-1), data))
		blk += rnd.Int64N(4)
	}
	w.Flush()
}

// TestCostIsThatOfTheChange: a transaction costs a few loads, of nodes, in a file
// of any size.
func TestCostIsThatOfTheChange(t *testing.T) {
	x := newMemTxn()
	file, err := bigfile.NewFile(x, 8)
	require.NoError(t, err)
	x.commit()
	write := func(blks ...int64) {
		w, err := bigfile.NewWriter(x, file, bigfile.FormatZBlk0)
		require.NoError(t, err)
		for _, blk := range blks {
			require.NoError(t, w.WriteBlock(ctx, blk, []byte("data")))
		}
		w.Flush()
		x.commit()
	}
	var all []int64
	for blk := range int64(50_000) {
		all = append(all, 2*blk)
	}
	write(all...)
	s := newState(x.db, 0, file)
	require.NoError(t, s.load(ctx, x.head))
	cost := func(maxLoads int64, blks ...int64) {
		t.Helper()
		write(blks...)
		before := x.db.Loads()
		var oids []zodb.Oid
		require.NoError(t, x.db.Iterate(ctx, x.head, x.head, func(txn *storage.Txn) error {
			oids = txn.Oids
			return nil
		}))
		c, err := s.advance(ctx, x.head, oids)
		require.NoError(t, err)
		require.Equal(t, rangesOf(blks), c.Blocks)
		require.LessOrEqual(t, x.db.Loads()-before, maxLoads)
	}
	cost(0, 500)                  // the ZBlk only
	cost(0, 500, 40_000)          //
	cost(6, 501)                  // its leaf before and after, and the size
	cost(9, 503, 20_001)          //
	for blk := range int64(300) { // appends split leaves
		cost(15, 200_000+blk)
	}

	// Diff never loads a ZBlk.
	zblks := make(map[zodb.Oid]bool)
	for zblk := range s.links.one {
		zblks[zblk] = true
	}
	x.db.OnLoad(func(_ context.Context, xid zodb.Xid) error {
		if zblks[xid.Oid] {
			return fmt.Errorf("ZBlk %s is loaded", xid.Oid)
		}
		return nil
	})
	c, err := Diff(ctx, x.db, 0, file, 2, x.head)
	require.NoError(t, err)
	require.Equal(t, []Range{{500, 501}, {503, 503}, {20_001, 20_001}, {40_000, 40_000}, {200_000, 200_299}}, c.Blocks)
}

func TestOneZBlkInSeveralBlocksChangesAllOfThem(t *testing.T) {
	x := newMemTxn()
	x.next = 1000
	storeFile(x, 8)
	x.Store(table0, bucket([]int64{1, 2, 5, 7}, "aaab"))
	x.commit()
	x.Store(zblkNamed("a").Oid, bigfile.EncodeBlock([]byte("x")))
	x.commit()
	require.Equal(t, []Range{{1, 2}, {5, 5}}, last(t, x).Blocks)
	x.Store(table0, bucket([]int64{1, 2, 5, 7}, "cabb")) // and stored: one change
	x.Store(zblkNamed("a").Oid, bigfile.EncodeBlock([]byte("y")))
	x.commit()
	require.Equal(t, []Range{{1, 2}, {5, 5}}, last(t, x).Blocks)
	x.Store(zblkNamed("b").Oid, bigfile.EncodeBlock([]byte("y")))
	x.commit()
	require.Equal(t, []Range{{5, 5}, {7, 7}}, last(t, x).Blocks)
}

func TestTableThatTwoFilesShareIsFollowedForBoth(t *testing.T) {
	x := newMemTxn()
	const other = zodb.Oid(105)
	storeFile(x, 8)
	x.Store(other, bigfile.EncodeFile(&bigfile.File{BlkSize: 16, Table: table0}))
	x.Store(table0, bucket([]int64{1, 2}, "ab"))
	x.commit()
	x.Store(table0, bucket([]int64{1, 3}, "aa"))
	x.commit()
	for file, blksize := range map[zodb.Oid]int64{theFile: 8, other: 16} {
		changes := collect(t, x.db, 0, file, 1, 2)
		require.Len(t, changes, 1)
		require.Equal(t, []Range{{2, 3}}, changes[0].Blocks)
		require.Equal(t, []int64{3 * blksize, 4 * blksize}, []int64{changes[0].OldSize, changes[0].NewSize})
	}
}

// TestPackedHistoryBeginsWhereItCanBeRead: nodes of before the pack are missing;
// the first transaction that has them tells all below, and says why.
func TestPackedHistoryBeginsWhereItCanBeRead(t *testing.T) {
	x := newMemTxn()
	storeFile(x, 8) // its table was changed later, and packed
	x.commit()
	x.Store(zblkNamed("a").Oid, bigfile.EncodeBlock(nil))
	x.commit()
	x.Store(table0, tree([]int64{4}, 200, 201))
	x.Store(200, bucket([]int64{1, 2}, "ab"))
	x.commit()
	x.Store(201, bucket([]int64{5}, "a"))
	x.commit()
	x.Store(zblkNamed("a").Oid, bigfile.EncodeBlock([]byte("x")))
	x.commit()
	changes := collect(t, x.db, 0, theFile, 0, x.head)
	require.Len(t, changes, 4)
	var missing *MissingError
	require.ErrorAs(t, changes[0].Damage, &missing)
	require.Equal(t, MissingError{Oid: table0, At: 1}, *missing)
	require.Equal(t, Created|Damaged, changes[0].Events)
	require.ErrorAs(t, changes[1].Damage, &missing) // 201 is not there yet
	require.Equal(t, zodb.Oid(201), missing.Oid)
	require.Equal(t, []Range{{1, 2}}, changes[1].Blocks)
	require.Error(t, changes[2].Damage) // what was before it is not known
	require.Equal(t, []Range{{5, 5}}, changes[2].Blocks)
	require.NoError(t, changes[3].Damage)
	require.Equal(t, []Range{{1, 1}, {5, 5}}, changes[3].Blocks)

	c, err := Diff(ctx, x.db, 0, theFile, 1, x.head)
	require.NoError(t, err)
	require.Error(t, c.Damage)
	require.Equal(t, []Range{{1, 2}, {5, 5}}, c.Blocks)
}

// TestTreesThatAreNoneAreTold: a node that is linked twice, to itself, or too
// deep hides what is below, and nothing else.
func TestTreesThatAreNoneAreTold(t *testing.T) {
	deep := func(x *memTxn) {
		const n = btree.MaxDepth - 1 // and the root, and the leaf
		for i := range zodb.Oid(n) {
			x.Store(500+i, btree.EncodeTree(btree.LO, i < n-1, []zodb.Oid{501 + i}, nil, 201))
		}
		x.Store(500+n, bucket([]int64{1, 2, 5, 9}, "abcd"))
		x.Store(table0, btree.EncodeTree(btree.LO, true, []zodb.Oid{500}, nil, 201))
	}
	for name, c := range map[string]struct {
		edit   func(x *memTxn)
		blocks []Range
	}{
		"twice":  {func(x *memTxn) { x.Store(table0, tree([]int64{4, 8}, 200, 201, 200)) }, []Range{{9, 9}}},
		"cycle":  {func(x *memTxn) { x.Store(201, tree([]int64{6}, 201, 200)) }, []Range{{5, 5}}},
		"itself": {func(x *memTxn) { x.Store(table0, tree([]int64{2}, table0, 202)) }, []Range{{1, 2}, {5, 5}}},
		"deep":   {deep, []Range{{1, 2}, {5, 5}, {9, 9}}},
		"other":  {func(x *memTxn) { x.Store(201, btree.EncodeEmpty(btree.IO)) }, []Range{{5, 5}}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newMemTxn()
			storeFile(x, 8)
			good := func() {
				x.Store(table0, tree([]int64{4, 8}, 200, 201, 202))
				x.Store(200, bucket([]int64{1, 2}, "ab"))
				x.Store(201, bucket([]int64{5}, "c"))
				x.Store(202, bucket([]int64{9}, "d"))
				x.commit()
			}
			good()
			c.edit(x)
			x.commit()
			got := last(t, x)
			require.Equal(t, Damaged, got.Events)
			var corrupt *storage.CorruptError
			require.ErrorAs(t, got.Damage, &corrupt)
			require.Equal(t, c.blocks, got.Blocks)
			good()
			changes := collect(t, x.db, 0, theFile, 0, x.head)
			require.Len(t, changes, 3)
			require.Equal(t, c.blocks, changes[2].Blocks)
			require.Equal(t, int64(80), changes[2].NewSize)
			x.Store(zblkNamed("a").Oid, []byte("x"))
			x.commit()
			require.NoError(t, last(t, x).Damage)
		})
	}
}

func TestBlocksThatCannotBeReadAreLeftOut(t *testing.T) {
	x := newMemTxn()
	storeFile(x, 8)
	x.Store(table0, bucket([]int64{math.MinInt64, -1, 3}, "abc"))
	x.commit()
	require.Equal(t, []Range{{3, 3}}, last(t, x).Blocks)
	x.Store(table0, bucket([]int64{-2, 3, math.MaxInt64/8 - 1}, "bcd"))
	x.commit()
	require.Equal(t, []Range{{math.MaxInt64/8 - 1, math.MaxInt64/8 - 1}}, last(t, x).Blocks)
	require.Equal(t, int64(math.MaxInt64)/8*8, last(t, x).NewSize)
	x.Store(table0, bucket([]int64{3, math.MaxInt64/8 - 1, math.MaxInt64 / 8, math.MaxInt64}, "cdef"))
	x.commit()
	got := last(t, x)
	require.Empty(t, got.Blocks)
	require.ErrorIs(t, got.Damage, bigfile.ErrTooBig)
	storeFile(x, 1)
	x.commit()
	require.Equal(t, []Range{{3, 3}, {24, 31}, {math.MaxInt64/8 - 1, math.MaxInt64/8 - 1}, {math.MaxInt64 / 8, math.MaxInt64 / 8}}[1], last(t, x).Blocks[1])
}

func TestTablesArrangedAnewDidNotChange(t *testing.T) {
	x := newMemTxn()
	w := topology.Writer{Root: table0, Values: zblkNamed}
	x.next = 1000
	storeFile(x, 8)
	for _, text := range []string{"T/B1:a,2:b", "T2/B1:a-B2:b", "T/T2/B1:a-B2:b", "T2/T-T/B1:a-B2:b", "T/T/B1:a,2:b"} {
		require.NoError(t, w.PutText(x, text))
		x.commit()
	}
	storeFile(x, 8) // the same
	x.commit()
	require.Len(t, collect(t, x.db, 0, theFile, 0, x.head), 1)
	c, err := Diff(ctx, x.db, 0, theFile, 1, x.head)
	require.NoError(t, err)
	require.True(t, c.Empty())
}

func TestArrayIsTold(t *testing.T) {
	x := newMemTxn()
	storeFile(x, 8)
	x.Store(table0, btree.EncodeEmpty(btree.LO))
	x.Store(theArray, []byte("shape 1"))
	x.commit()
	x.Store(theArray, []byte("shape 1"))
	x.commit()
	x.Store(theArray, []byte("shape 2"))
	x.commit()
	changes := collect(t, x.db, theArray, theFile, 0, x.head)
	require.Len(t, changes, 2)
	require.Equal(t, "created", changes[0].Events.String())
	require.Equal(t, []string{"metadata"}, changes[1].Events.Names())
	require.Equal(t, zodb.Tid(3), changes[1].Tid)
	c, err := Diff(ctx, x.db, theArray, theFile, 3, 1)
	require.NoError(t, err)
	require.Equal(t, Metadata, c.Events)
}

func TestErrorsEndIt(t *testing.T) {
	x := newMemTxn()
	storeFile(x, 8)
	x.Store(table0, bucket([]int64{1}, "a"))
	x.commit()
	x.Store(table0, bucket([]int64{2}, "a"))
	x.commit()
	mine := errors.New("mine")
	nothing := func(*Change) error { return nil }
	require.Equal(t, mine, Log(ctx, x.db, 0, theFile, 0, 2, func(*Change) error { return mine }))
	require.NoError(t, Log(ctx, x.db, 0, theFile, 2, 9, nothing), "views beyond the head are empty")
	require.NoError(t, Log(ctx, x.db, 0, theFile, 9, 99, nothing))

	var future *storage.FutureViewError
	_, err := Diff(ctx, x.db, 0, theFile, 3, 1)
	require.ErrorAs(t, err, &future)
	_, err = Diff(ctx, x.db, 0, theFile, 3, 3)
	require.ErrorAs(t, err, &future)

	ended, end := context.WithCancel(ctx)
	end()
	require.ErrorIs(t, Log(ended, x.db, 0, theFile, 0, 2, nothing), context.Canceled)
	x.db.OnLoad(func(context.Context, zodb.Xid) error { return io.ErrUnexpectedEOF })
	require.ErrorIs(t, Log(ctx, x.db, 0, theFile, 0, 2, nothing), io.ErrUnexpectedEOF)
	_, err = Diff(ctx, x.db, 0, theFile, 1, 2)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorContains(t, err, theFile.String())
}

func TestRangesAreMergedAndRescaled(t *testing.T) {
	require.Equal(t, []Range{{0, 5}, {7, 9}}, merge([]Range{{7, 8}, {3, 5}, {0, 2}, {8, 9}, {1, 1}}))
	require.Empty(t, merge(nil))
	require.Equal(t, []Range{{1, 3}, {9, 9}}, rangesOf([]int64{9, 3, 1, 2, 3}))
	require.Equal(t, []Range{{1, 2}}, rescale([]Range{{2, 3}}, 6, 8))
	require.Equal(t, []Range{{4, 7}}, rescale([]Range{{2, 3}}, 6, 3))
}
