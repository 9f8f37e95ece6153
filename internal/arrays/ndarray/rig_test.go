package ndarray

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
)

// pyRepr shows a value of a pickle as Python would.
func pyRepr(v any) string {
	list := func(items []any) string {
		var out []string
		for _, item := range items {
			out = append(out, pyRepr(item))
		}
		return strings.Join(out, ", ")
	}
	switch x := v.(type) {
	case nil:
		return "None"
	case bool:
		return map[bool]string{false: "False", true: "True"}[x]
	case string:
		return "'" + x + "'"
	case pickle.Bytes:
		return "b'" + string(x) + "'"
	case pickle.Tuple:
		return "(" + list(x) + ")"
	case *pickle.Dict:
		var out []string
		for _, item := range x.Items {
			out = append(out, pyRepr(item.Key)+": "+pyRepr(item.Value))
		}
		return "{" + strings.Join(out, ", ") + "}"
	case record.Class:
		return x.String()
	case pickle.Ref:
		return fmt.Sprintf("<%s %s>", x.Class, x.Oid)
	case *pickle.Object:
		return fmt.Sprintf("%s(%s)%s", pyRepr(x.New), list(x.Args), pyRepr(x.State))
	}
	return fmt.Sprint(v)
}

// roundTrip encodes an array and decodes it, and returns what it was pickled as.
func roundTrip(t require.TestingT, a *Array) (*Array, pickle.Tuple) {
	class, state, err := pickle.Record(EncodeArray(a))
	require.NoError(t, err)
	require.Equal(t, record.ZBigArray, class)
	got, err := DecodeArray(state)
	require.NoError(t, err)
	return got, state.(pickle.Tuple)
}

func mustParse(t testing.TB, s string) *DType {
	t.Helper()
	d, err := ParseDType(s)
	require.NoError(t, err, s)
	return d
}

// sameHeader requires two headers to say the same.
func sameHeader(t require.TestingT, want, got *Header) {
	require.Equal(t, want.DType.String(), got.DType.String())
	require.True(t, want.DType.Equal(got.DType), want.DType.String())
	require.Equal(t, want.Shape, got.Shape)
	require.Equal(t, want.Order, got.Order)
}

// scalars generates a scalar of any kind, size, byte order and unit.
func scalars() *rapid.Generator[*DType] {
	return rapid.Custom(func(t *rapid.T) *DType {
		kind := rapid.SampledFrom([]byte("biufcSUVMm")).Draw(t, "kind")
		order := rapid.SampledFrom([]byte("<>")).Draw(t, "order")
		switch sizes := numberSizes(kind); {
		case sizes != nil:
			return newScalar(kind, order, rapid.SampledFrom(sizes).Draw(t, "size"))
		case kind == 'M' || kind == 'm':
			d := newScalar(kind, order, 8)
			name := rapid.SampledFrom([]string{"generic", "Y", "D", "h", "ns", "as"}).Draw(t, "unit")
			if name != "generic" {
				require.NoError(t, d.setUnit(name, rapid.Int64Range(1, 1000).Draw(t, "num")))
			}
			return d
		}
		return newScalar(kind, order, 4*rapid.Int64Range(0, 9).Draw(t, "size"))
	})
}

// dtypes generates types nested up to depth times; wild ones have fields that
// overlap and are in any order.
func dtypes(depth int, wild bool) *rapid.Generator[*DType] {
	if depth == 0 {
		return scalars()
	}
	sub := rapid.Custom(func(t *rapid.T) *DType {
		base := dtypes(depth-1, wild).Draw(t, "base")
		shape := rapid.SliceOfN(rapid.Int64Range(0, 4), 1, 3).Draw(t, "shape")
		d, err := newSub(base, shape)
		require.NoError(t, err)
		return d
	})
	structure := rapid.Custom(func(t *rapid.T) *DType {
		names := rapid.SliceOfNDistinct(rapid.StringN(1, 6, -1), 0, 8, rapid.ID).Draw(t, "names")
		pad := rapid.Int64Range(0, 3)
		var fields []field
		size, end := int64(0), int64(0)
		for i := 0; i < len(names); i++ {
			f := field{name: names[i], dtype: dtypes(depth-1, wild).Draw(t, "field")}
			if i+1 < len(names) && rapid.Bool().Draw(t, "titled") {
				i++
				f.title = names[i]
			}
			if f.offset = end + pad.Draw(t, "pad"); wild {
				f.offset = rapid.Int64Range(0, 40).Draw(t, "offset")
			}
			end = f.offset + f.dtype.size
			size = max(size, end)
			fields = append(fields, f)
		}
		d, err := newStruct(fields, size+pad.Draw(t, "pad"), rapid.Bool().Draw(t, "aligned"))
		require.NoError(t, err)
		return d
	})
	return rapid.OneOf(scalars(), sub, structure, structure)
}

func shapes() *rapid.Generator[[]int64] {
	return rapid.SliceOfN(rapid.Int64Range(0, 1000), 0, 5)
}

func orders() *rapid.Generator[Order] {
	return rapid.SampledFrom([]Order{RowMajor, ColumnMajor})
}
