package naming

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/core/form"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// dtypes are types of every kind.
var dtypes = []string{
	"bool", "i1", "u2", ">i4", "i8", "f2", "f4", "f8", "f16", "c8", ">c16", "c32", "S4", "S0", "U12", ">U1", "V16",
	"M8", "M8[ns]", ">m8[25s]", "('>i4', (2, 3))", "('U1', 2)", "[('t', 'f8')]", "[]", "[(('T', 't'), '<i2')]",
	"[('a', '|u1'), ('', '|V3'), ('b', '<i4'), ('', '|V4')]", "[('p', [('x', 'f4'), ('y', 'f4')], 2), ('q', ('f4', 2), (3,))]",
	`[("it's", '|u1'), ('\xe9\u200b', '|u1')]`, "[('" + strings.Repeat("x", 5000) + "', 'f8')]",
}

var shapes = [][]int64{{}, {0}, {1}, {1000}, {3, 700}, {2, 0, 3}, {1, 2, 3, 4, 5}, {1 << 40, 3}}

// TestFormSaysTypeShapeAndOrder: whatever an array is, its header says it, takes whole
// pages, and is followed by its items.
func TestFormSaysTypeShapeAndOrder(t *testing.T) {
	t.Parallel()
	for _, dtype := range dtypes {
		for _, shape := range shapes {
			for _, order := range []ndarray.Order{ndarray.RowMajor, ndarray.ColumnMajor} {
				w := newWorld(t)
				r := w.arrayOf(dtype, order, shape...)
				at := w.commit()
				f, err := w.tree.Form(t.Context(), at, r.oid)
				if order == ndarray.ColumnMajor && len(shape) > 1 && strings.HasPrefix(dtype, "(") {
					var none *form.NoFormError
					require.ErrorAs(t, err, &none)
					continue
				}
				require.NoError(t, err, "%s %v", dtype, shape)
				require.Zero(t, len(f.Header)%4096)
				require.Equal(t, at, f.Rev)

				rest := bytes.NewReader(f.Header)
				h, err := ndarray.ReadHeader(rest)
				require.NoError(t, err)
				require.Zero(t, rest.Len())
				items, err := (&ndarray.Array{DType: h.DType, Shape: h.Shape}).Bytes()
				require.NoError(t, err)
				require.Equal(t, f.Items, items)
				want, err := ndarray.ParseDType(dtype)
				require.NoError(t, err)
				if !strings.HasPrefix(dtype, "(") { // which is in the shape
					require.True(t, want.Equal(h.DType), dtype)
					require.Equal(t, append([]int64{}, shape...), h.Shape)
				}
				if len(shape) > 1 {
					require.Equal(t, order, h.Order)
				}
			}
		}
	}
}

// TestFormFollowsTheArray: it is that of the view, and a file has none, with the reason.
func TestFormFollowsTheArray(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.array(3)
	bare, thing := w.file(), w.add(appClass, nil)
	broken := w.new(record.ZBigArray)
	w.records[broken.oid] = []byte("\x80\x03garbage")
	first := w.commit()
	longer := w.array(5)
	w.records[r.oid] = w.records[longer.oid]
	second := w.commit()
	for range 2 { // the second time from memory
		f, err := w.tree.Form(t.Context(), first, r.oid)
		require.NoError(t, err)
		require.Equal(t, int64(24), f.Items)
		require.Equal(t, first, f.Rev)
		f, err = w.tree.Form(t.Context(), second, r.oid)
		require.NoError(t, err)
		require.Equal(t, int64(40), f.Items)
		require.Equal(t, second, f.Rev)
	}
	var none *form.NoFormError
	_, err := w.tree.Form(t.Context(), second, bare.oid)
	require.ErrorAs(t, err, &none)
	require.ErrorContains(t, err, "it is a file, not an array: it has no dtype and shape")
	_, err = w.tree.Form(t.Context(), second, thing.oid)
	require.ErrorAs(t, err, &none)
	require.ErrorContains(t, err, "app.model.Thing")
	var corrupt *storage.CorruptError
	_, err = w.tree.Form(t.Context(), second, broken.oid)
	require.ErrorAs(t, err, &corrupt)
	_, err = w.tree.Form(t.Context(), first, longer.oid)
	require.True(t, storage.IsNoData(err), "%v", err)
}

// TestDescriptionsSayWhatIsKnown, with one line for each field.
func TestDescriptionsSayWhatIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.arrayOf("[('x', '<f4'), ('n', '>i8', (2,))]", ndarray.ColumnMajor, 3, 7)
	bare := w.file()
	overlap := w.arrayOf("{'names': ['a', 'b'], 'formats': ['<i4', '<i2'], 'offsets': [0, 0]}", ndarray.RowMajor, 2)
	w.root("a/b", w.items("x\n", r, "bare", bare, "overlap", overlap))
	at := w.commit()
	text, err := w.tree.Describe(t.Context(), at, "a%2Fb/x%0A")
	require.NoError(t, err)
	f, err := w.tree.Form(t.Context(), at, r.oid)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf(`{
  "name": ["a/b","x\n"],
  "oid": "%s",
  "npy": true,
  "dtype": [["x","<f4"],["n",">i8",[2]]],
  "shape": [3,7],
  "order": "F",
  "strides": [20,60],
  "itemsize": 20,
  "nbytes": 420,
  "revision": "%s",
  "data_offset": 4096,
  "file": "%s",
  "path": "bigfile/%[3]s",
  "blksize": 4096,
  "file_size": 0
}
`, r.oid, at, f.File), string(text))

	text, err = w.tree.Describe(t.Context(), at, "a%2Fb/bare")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf(`{
  "name": ["a/b","bare"],
  "oid": "%s",
  "npy": false,
  "reason": "it is a file, not an array: it has no dtype and shape",
  "revision": "%s",
  "file": "%[1]s",
  "path": "bigfile/%[1]s",
  "blksize": 4096,
  "file_size": 0
}
`, bare.oid, at), string(text))

	text, err = w.tree.Describe(t.Context(), at, "a%2Fb/overlap")
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, false, got["npy"])
	require.Equal(t, `.npy files cannot describe this array: field "b" overlaps another one, or is out of order`, got["reason"])
	require.NotContains(t, got, "data_offset")
	require.Equal(t, []any{2.0}, got["shape"])
}
