package transfer

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// dtypes has one dtype of each kind, and some that are put together.
var dtypes = []npy{
	{descr: "'|b1'", item: 1},
	{descr: "'|i1'", item: 1},
	{descr: "'|u1'", item: 1},
	{descr: "'<i2'", item: 2},
	{descr: "'>u4'", item: 4},
	{descr: "'<i8'", item: 8},
	{descr: "'<f2'", item: 2},
	{descr: "'<f8'", item: 8},
	{descr: "'>c16'", item: 16},
	{descr: "'|S5'", item: 5},
	{descr: "'<U3'", item: 12},
	{descr: "'|V7'", item: 7},
	{descr: "'<M8[ns]'", item: 8},
	{descr: "'<m8[25s]'", item: 8},
	{descr: "[('t', '<f8'), ('v', '>i4', (2, 3)), ('s', '|S3')]", item: 35},
	{descr: "[('a', [('x', '|u1'), ('y', '<i2')]), ('', '|V4'), ('b', '<f4')]", item: 11},
}

var shapes = [][]int64{
	{}, {0}, {1}, {7}, {8}, {9}, {64}, {1000}, // around the ends of blocks
	{0, 5}, {5, 0}, {1, 1}, {3, 7}, {16, 8},
	{2, 3, 4}, {4, 0, 3}, {2, 3, 2, 5}, {1, 1, 1, 1},
}

// read returns an array as of a view, whatever it is called: by its oid.
func readArray(t testing.TB, src storage.Storage, oid zodb.Oid, at zodb.Tid) *ndarray.Array {
	t.Helper()
	buf, _, err := src.Load(ctx, zodb.Xid{Oid: oid, At: at})
	require.NoError(t, err)
	class, state, err := pickle.Record(buf.Data)
	require.NoError(t, err)
	require.Equal(t, record.ZBigArray, class)
	array, err := ndarray.DecodeArray(state)
	require.NoError(t, err)
	return array
}

func export(t testing.TB, src storage.Storage, oid zodb.Oid, at zodb.Tid, npy bool) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, Export(ctx, src, at, readArray(t, src, oid, at), &out, npy, nil))
	return out.Bytes()
}

// TestExportGivesBackWhatWasImported, byte for byte: all kinds of dtypes, both
// orders, no axis to four, sizes around those of blocks, all formats of blocks,
// from files and from pipes. Zeros and other bytes alternate in runs.
func TestExportGivesBackWhatWasImported(t *testing.T) {
	rnd := newRand(t, 0)
	db := createDB(t, zwrite.Options{Buffer: 20_000})
	type imported struct {
		res  Result
		file []byte
		data []byte
	}
	var all []imported
	for i, array := range dtypes {
		for j, shape := range shapes {
			for _, order := range []byte{'C', 'F'} {
				array.shape, array.order = shape, order
				if len(shape) < 2 {
					array.order = 'C' // numpy takes what is both for C
				}
				array.data = randomBytes(rnd, int(array.item*count(shape)))
				if n := len(array.data); n > 0 {
					from := rnd.IntN(n)
					clear(array.data[from : from+rnd.IntN(n-from+1)])
				}
				file := array.bytes()
				opt := Options{BlkSize: []int64{1, 7, 8, 64, 4096, DefaultBlkSize}[rnd.IntN(6)], Format: bigfile.Format(rnd.IntN(3))}
				if len(array.data) > 100 {
					opt.BlkSize = max(opt.BlkSize, int64(len(array.data)/20)) // more of them only take time
				}
				name := fmt.Sprintf("a%d_%d%c", i, j, order)
				res, err := Import(ctx, db, source(t, file, rnd.IntN(2) == 0, Layout{}), name, opt)
				require.NoError(t, err, "%s %v", array.descr, shape)
				require.EqualValues(t, len(array.data), res.Bytes)
				require.Equal(t, (res.Bytes+opt.BlkSize-1)/opt.BlkSize, res.Blocks)
				all = append(all, imported{res, file, array.data})
			}
		}
	}
	src := openReader(t, db.Path())
	for _, a := range all {
		require.True(t, bytes.Equal(a.file, export(t, src, a.res.Oid, a.res.Tid, true)), "%s, seed above", Describe(&a.res.Array))
		require.True(t, bytes.Equal(a.data, export(t, src, a.res.Oid, db.Head(), false)), "%s, plain", Describe(&a.res.Array))
	}
}

// TestAppendsMakeTheWholeArray appends pieces of random length, of files and of
// plain data, to arrays of all orders and formats, and compares every view.
func TestAppendsMakeTheWholeArray(t *testing.T) {
	rnd := newRand(t, 0)
	db := createDB(t, zwrite.Options{})
	type view struct {
		oid  zodb.Oid
		at   zodb.Tid
		file []byte
	}
	var views []view
	for i := range 30 {
		array := dtypes[rnd.IntN(len(dtypes))]
		array.order = "CF"[i%2]
		array.shape = slices.Clone([][]int64{{5}, {3, 2}, {2, 2, 3}, {3, 0}, {0, 3}, {1, 1}}[i%6])
		major := 0
		if array.order == 'F' {
			major = len(array.shape) - 1
		}
		array.data = randomBytes(rnd, int(array.item*count(array.shape)))
		if len(array.shape) == 1 {
			array.order = 'C'
		}
		name := fmt.Sprint("a", i)
		opt := Options{BlkSize: []int64{8, 50, 4096, 10000}[rnd.IntN(4)]}
		res, err := Import(ctx, db, source(t, array.bytes(), false, Layout{}), name, opt)
		require.NoError(t, err)
		views = append(views, view{res.Oid, res.Tid, array.bytes()})
		for range 12 {
			piece := array
			piece.shape = slices.Clone(array.shape)
			piece.shape[major] = int64(rnd.IntN(1 + rnd.IntN(40)))
			piece.data = randomBytes(rnd, int(array.item*count(piece.shape)))
			opt.Format = bigfile.Format(rnd.IntN(3))
			file, pipe := piece.bytes(), rnd.IntN(2) == 0
			if rnd.IntN(3) == 0 && len(piece.data) > 0 {
				file = piece.data
			}
			appended, err := Append(ctx, db, source(t, file, pipe, Layout{}), name, opt)
			require.NoError(t, err)
			if len(piece.data) > 0 {
				require.Equal(t, piece.shape[major], appended.Rows)
			}
			array.shape = slices.Clone(array.shape)
			array.shape[major] += appended.Rows
			array.data = slices.Concat(array.data, piece.data)
			views = append(views, view{res.Oid, appended.Tid, array.bytes()})
		}
	}
	src := openReader(t, db.Path())
	for _, v := range views {
		require.True(t, bytes.Equal(v.file, export(t, src, v.oid, v.at, true)), "%s at %s", v.oid, v.at)
	}
}
