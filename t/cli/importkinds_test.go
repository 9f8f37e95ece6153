package cli

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
	"github.com/wcfs/wcfs/t/harness"
)

// kinds has a dtype of every kind that numpy can save.
var kinds = []string{"|b1", "|i1", "|u1", "<i2", ">u4", "<i8", "<f2", ">f4", "<f8", "<c8", ">c16", "|S5", "<U3", "|V7", "<M8[ns]", "<m8[25s]",
	"[('t', '<f8'), ('v', '>i4', (2, 3)), ('s', '|S3')]", "[('a', [('x', '|u1'), ('y', '<i2')]), ('b', '<f4')]"}

// npyOf returns an .npy file with random items, and its data.
func npyOf(t *testing.T, rnd *rand.Rand, kind string, shape []int64, order ndarray.Order) (file, data []byte) {
	t.Helper()
	dtype, err := ndarray.ParseDType(kind)
	require.NoError(t, err)
	array := ndarray.Array{DType: dtype, Shape: shape, Order: order}
	n, err := array.Bytes()
	require.NoError(t, err)
	data = make([]byte, n)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	header, err := (&ndarray.Header{DType: dtype, Shape: shape, Order: order}).Encode()
	require.NoError(t, err)
	return append(header, data...), data
}

// TestEveryKindOfArrayMakesTheRoundTrip: what was in an .npy file is what a mount
// shows, and what comes out again: every dtype, both orders, no axis to four, and
// sizes around the end of a block.
func TestEveryKindOfArrayMakesTheRoundTrip(t *testing.T) {
	t.Parallel()
	const blksize = 4096
	rnd := harness.NewRand(t)
	path := filepath.Join(t.TempDir(), "Data.fs")
	db, err := zwrite.Create(t.Context(), path, zwrite.Options{NoSync: true})
	require.NoError(t, err)
	type entry struct {
		name       string
		res        transfer.Result
		file, data []byte
	}
	var all []entry
	for i, kind := range kinds {
		dtype, err := ndarray.ParseDType(kind)
		require.NoError(t, err)
		edge := blksize / dtype.Size() // items that fit into a block
		for j, shape := range [][]int64{{}, {0}, {5}, {edge}, {edge + 1}, {2 * edge, 3}, {3, 5, 7}, {2, 3, 2, 5}, {3, 0, 2}} {
			order := []ndarray.Order{ndarray.RowMajor, ndarray.ColumnMajor}[(i+j)%2]
			e := entry{name: fmt.Sprintf("%s %v %c", kind, shape, order)}
			e.file, e.data = npyOf(t, rnd, kind, shape, order)
			src, err := transfer.NewSource(bytes.NewReader(e.file), "x.npy", int64(len(e.file)), transfer.Layout{})
			require.NoError(t, err, e.name)
			e.res, err = transfer.Import(t.Context(), db, src, fmt.Sprintf("a%d-%d", i, j),
				transfer.Options{BlkSize: blksize, Format: bigfile.Format((i + j) % 3)})
			require.NoError(t, err, e.name)
			all = append(all, e)
		}
	}
	require.NoError(t, db.Close())

	s := harness.StartOn(t, path)
	u, err := storage.ParseURL("file://" + path)
	require.NoError(t, err)
	store, head, err := fs1.Open(t.Context(), u, storage.Options{})
	require.NoError(t, err)
	defer store.Close()
	for _, e := range all {
		file := s.Path("head/bigfile", e.res.Array.File.String())
		if len(e.data) == 0 {
			require.Zero(t, harness.Stat(t, file).Size, e.name)
		} else {
			require.Equal(t, e.data, harness.ReadAt(t, file, 0, len(e.data)), e.name)
		}
		var out bytes.Buffer
		require.NoError(t, transfer.Export(t.Context(), store, head, &e.res.Array, &out, true, nil))
		require.Equal(t, e.file, out.Bytes(), e.name)
	}
	s.Stop()
}
