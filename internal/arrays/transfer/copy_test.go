package transfer

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// TestCopyGivesWhatWasWritten writes random blocks and compares random ranges at
// all views with a model. To repeat a run put its seed into newRand.
func TestCopyGivesWhatWasWritten(t *testing.T) {
	const blksize, blocks = 100, 150
	rnd := newRand(t, 0)
	db := createDB(t, zwrite.Options{})
	txn := begin(t, db)
	file, err := bigfile.NewFile(txn, blksize)
	require.NoError(t, err)
	model := make([]byte, blksize*blocks)
	contents := map[zodb.Tid][]byte{commit(t, txn): slices.Clone(model)}
	for range 12 {
		txn := begin(t, db)
		w, err := bigfile.NewWriter(txn, file, bigfile.Format(rnd.IntN(3)))
		require.NoError(t, err)
		for range 1 + rnd.IntN(20) {
			blk := rnd.IntN(blocks - 10)
			data := randomBytes(rnd, rnd.IntN(blksize+1))
			require.NoError(t, w.WriteBlock(ctx, int64(blk), data))
			clear(model[blk*blksize:][:blksize])
			copy(model[blk*blksize:], data)
		}
		w.Flush()
		contents[commit(t, txn)] = slices.Clone(model)
	}
	src := openReader(t, db.Path())
	for at, want := range contents {
		for range 30 {
			off := rnd.IntN(len(want) + 1)
			n := rnd.IntN(len(want) - off + 1)
			var out bytes.Buffer
			told := int64(0)
			require.NoError(t, Copy(ctx, src, at, file, int64(off), int64(n), &out, func(n int64) { told += n }))
			require.True(t, bytes.Equal(want[off:off+n], out.Bytes()), "[%d, %d) at %s", off, off+n, at)
			require.EqualValues(t, n, told)
		}
	}
}

// brokenAfter is a writer that fails after some bytes.
type brokenAfter struct{ n int }

var errBroken = errors.New("broken")

func (b *brokenAfter) Write(p []byte) (int, error) {
	if b.n -= len(p); b.n < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// TestCopyEndsWithTheErrorThatStoppedIt: also nothing of it keeps running, which
// TestMain checks.
func TestCopyEndsWithTheErrorThatStoppedIt(t *testing.T) {
	db := createDB(t, zwrite.Options{})
	txn := begin(t, db)
	file, err := bigfile.NewFile(txn, 10)
	require.NoError(t, err)
	w, err := bigfile.NewWriter(txn, file, bigfile.FormatZBlk0)
	require.NoError(t, err)
	for blk := range int64(200) {
		require.NoError(t, w.WriteBlock(ctx, blk, []byte("abcdefghij")))
	}
	w.Flush()
	data, _, err := txn.Load(file)
	require.NoError(t, err)
	decoded, err := bigfile.DecodeFile(data)
	require.NoError(t, err)
	at := commit(t, txn)
	src := openReader(t, db.Path())
	copyAt := func(ctx context.Context, at zodb.Tid, w *brokenAfter) error {
		return Copy(ctx, src, at, file, 0, 2000, w, nil)
	}
	require.NoError(t, copyAt(ctx, at, &brokenAfter{2000}))
	require.ErrorIs(t, copyAt(ctx, at, &brokenAfter{999}), errBroken)

	gone, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, copyAt(gone, at, &brokenAfter{2000}), context.Canceled)

	require.Error(t, Copy(ctx, src, at, file, 1, 1<<63-1, &brokenAfter{}, nil))
	require.Error(t, Copy(ctx, src, at, file, -1, 1, &brokenAfter{}, nil))
	var other *bigfile.NotBigFileError
	require.ErrorAs(t, Copy(ctx, src, at, decoded.Table, 0, 1, &brokenAfter{}, nil), &other)
	require.True(t, storage.IsNoData(Copy(ctx, src, at, 1000000, 0, 1, &brokenAfter{}, nil)))

	// Deleted: a block, then the first leaf of the table.
	found, err := btree.Lookup(ctx, btree.Direct{Loader: src}, decoded.Table, at, 100)
	require.NoError(t, err)
	for _, oid := range []zodb.Oid{found.Value, found.Path[len(found.Path)-1].Oid} {
		txn = begin(t, db)
		txn.Delete(oid)
		at = commit(t, txn)
		_, err = src.Sync(ctx)
		require.NoError(t, err)
		var corrupt *storage.CorruptError
		require.ErrorAs(t, copyAt(ctx, at, &brokenAfter{2000}), &corrupt)
		require.Equal(t, oid, corrupt.Oid)
	}
}
