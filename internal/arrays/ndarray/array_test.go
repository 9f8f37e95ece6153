package ndarray

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/t/oracle"
)

// TestArrayOfPythonComesOutByteForByte promises that what wendelin.core wrote is
// understood, and would be written the same.
func TestArrayOfPythonComesOutByteForByte(t *testing.T) {
	found := 0
	for _, rec := range oracle.Load(t, "basic").Records(t) {
		class, state, err := pickle.Record(rec.Data)
		require.NoError(t, err)
		if class != record.ZBigArray {
			continue
		}
		found++
		a, err := DecodeArray(state)
		require.NoError(t, err)
		require.Equal(t, "[('t', '<f8'), ('v', '>i4'), ('name', '|S4')]", a.DType.String())
		require.Equal(t, []int64{3, 700}, a.Shape)
		require.Equal(t, RowMajor, a.Order)
		require.Equal(t, zodb.Oid(8), a.File)
		require.Equal(t, string(rec.Data), string(EncodeArray(a)))
	}
	require.NotZero(t, found)
}

// TestAnyArrayComesBackFromItsRecord promises that a record says all of an array,
// whatever its type is, and that it is written the same again.
func TestAnyArrayComesBackFromItsRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &Array{
			DType: dtypes(3, rapid.Bool().Draw(t, "wild")).Draw(t, "dtype"),
			Shape: shapes().Draw(t, "shape"),
			Order: orders().Draw(t, "order"),
			File:  zodb.Oid(rapid.Uint64().Draw(t, "file")),
		}
		if _, err := want.Bytes(); err != nil {
			t.Skip(err)
		}
		got, _ := roundTrip(t, want)
		require.True(t, want.DType.Equal(got.DType), want.DType.String())
		require.Equal(t, string(EncodeArray(want)), string(EncodeArray(got)))
		got.DType = want.DType
		require.Equal(t, want, got)
	})
}

// TestStridesLeadToItems promises that strides walk through all items one after
// another in the order of the array, and that Bytes is where they end.
func TestStridesLeadToItems(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := &Array{
			DType: scalars().Draw(t, "dtype"),
			Shape: rapid.SliceOfN(rapid.Int64Range(1, 4), 0, 4).Draw(t, "shape"),
			Order: orders().Draw(t, "order"),
		}
		strides := a.Strides()
		axes := make([]int, len(a.Shape)) // from the fastest
		for i := range axes {
			axes[i] = i
		}
		if a.Order == RowMajor {
			slices.Reverse(axes)
		}
		index := make([]int64, len(a.Shape))
		pos := int64(0)
		for more := true; more; {
			at := int64(0)
			for i, n := range index {
				at += n * strides[i]
			}
			require.Equal(t, pos, at)
			pos += a.DType.Size()
			more = false
			for _, axis := range axes {
				if index[axis]++; index[axis] < a.Shape[axis] {
					more = true
					break
				}
				index[axis] = 0
			}
		}
		n, err := a.Bytes()
		require.NoError(t, err)
		require.Equal(t, pos, n)
	})
}

// TestSizeOfArrays promises the sizes at the edges.
func TestSizeOfArrays(t *testing.T) {
	const most = math.MaxInt64
	for _, row := range []struct {
		dtype string
		shape []int64
		want  int64 // -1: error
	}{
		{"f8", nil, 8},
		{"f8", []int64{0}, 0},
		{"f8", []int64{5, 0, 3}, 0},
		{"f8", []int64{5, 2, 3}, 240},
		{"u1", []int64{most}, most},
		{"u2", []int64{most/2 + 1}, -1},
		{"u1", []int64{1 << 32, 1 << 31}, -1},
		{"u1", []int64{1 << 32, 1 << 32}, -1},
		{"u1", []int64{1 << 62, 1 << 62, 0}, -1},
		{"u1", []int64{0, 1 << 62, 1 << 62}, -1},
		{"u1", []int64{-1}, -1},
		{"u1", []int64{0, -1}, -1},
		{"u1", []int64{math.MinInt64}, -1},
		{"S0", []int64{1 << 62, 1 << 62}, 0},
		{"u1", slices.Repeat([]int64{1}, 64), 1},
		{"u1", slices.Repeat([]int64{1}, 65), -1},
	} {
		a := &Array{DType: mustParse(t, row.dtype), Shape: row.shape, Order: RowMajor}
		n, err := a.Bytes()
		if row.want < 0 {
			var bad *ShapeError
			require.ErrorAs(t, err, &bad, "%v", row)
			continue
		}
		require.NoError(t, err, "%v", row)
		require.Equal(t, row.want, n, "%v", row)
	}
}

// stateOf returns a state that DecodeArray accepts, to be spoilt.
func stateOf(t *testing.T, dtype string, shape ...int64) pickle.Tuple {
	_, state := roundTrip(t, &Array{DType: mustParse(t, dtype), Shape: shape, Order: RowMajor, File: 7})
	return state
}

// set sets an attribute, or removes it if v is a pickle.Foreign.
func set(state pickle.Tuple, name string, v any) {
	dict := state[0].(*pickle.Dict)
	if name == "zfile" {
		dict = state[1].(*pickle.Dict)
	}
	dict.Items = slices.DeleteFunc(dict.Items, func(item pickle.Item) bool { return item.Key == name })
	if _, remove := v.(pickle.Foreign); !remove {
		dict.Items = append(dict.Items, pickle.Item{Key: name, Value: v})
	}
}

// npInt returns what an integer of numpy is pickled as.
func npInt(code, data string) any {
	return &pickle.Object{
		New: record.Class{Module: "numpy.core.multiarray", Name: "scalar"},
		Args: pickle.Tuple{
			&pickle.Object{New: record.Class{Module: "numpy", Name: "dtype"}, Args: pickle.Tuple{code, false, true}},
			pickle.Bytes(data),
		},
	}
}

// TestOldAndOddSpellingsOfArrays promises that what wendelin.core of any time may
// have written is understood.
func TestOldAndOddSpellingsOfArrays(t *testing.T) {
	list := &pickle.List{Items: []any{int64(3), int64(700)}}
	for name, spoil := range map[string]func(state pickle.Tuple) any{
		"as it is":        func(s pickle.Tuple) any { return s },
		"without order":   func(s pickle.Tuple) any { set(s, "_order", pickle.Foreign{}); return s },
		"without strides": func(s pickle.Tuple) any { set(s, "_stridev", pickle.Foreign{}); return s },
		"order as bytes":  func(s pickle.Tuple) any { set(s, "_order", pickle.Bytes("C")); return s },
		"shape is a list": func(s pickle.Tuple) any { set(s, "_shape", list); return s },
		"numpy integers": func(s pickle.Tuple) any {
			set(s, "_shape", pickle.Tuple{npInt("i1", "\x03"), npInt(">u2", "\x02\xbc")})
			return s
		},
		"numpy strides": func(s pickle.Tuple) any {
			set(s, "_stridev", pickle.Tuple{npInt("i8", "\xe0\x15\x00\x00\x00\x00\x00\x00"), int64(8)})
			return s
		},
		"one dict": func(s pickle.Tuple) any {
			return &pickle.Dict{Items: append(s[0].(*pickle.Dict).Items, s[1].(*pickle.Dict).Items...)}
		},
		"all in the slots": func(s pickle.Tuple) any {
			return pickle.Tuple{nil, &pickle.Dict{Items: append(s[0].(*pickle.Dict).Items, s[1].(*pickle.Dict).Items...)}}
		},
		"something more": func(s pickle.Tuple) any { set(s, "note", "hi"); return s },
		"keys are bytes": func(s pickle.Tuple) any {
			for _, part := range s {
				for i := range part.(*pickle.Dict).Items {
					item := &part.(*pickle.Dict).Items[i]
					item.Key = pickle.Bytes(item.Key.(string))
				}
			}
			return s
		},
	} {
		a, err := DecodeArray(spoil(stateOf(t, "f8", 3, 700)))
		require.NoError(t, err, name)
		require.Equal(t, &Array{DType: mustParse(t, "f8"), Shape: []int64{3, 700}, Order: RowMajor, File: 7}, a, name)
	}
	s := stateOf(t, "f8", 5)
	set(s, "_shape", int64(5))
	a, err := DecodeArray(s)
	require.NoError(t, err)
	require.Equal(t, []int64{5}, a.Shape)
	s = stateOf(t, "f8", 1, 5)
	set(s, "_stridev", pickle.Tuple{int64(99), int64(8)})
	_, err = DecodeArray(s)
	require.NoError(t, err, "the stride of a dimension with one item does not matter")
}

// TestUnusualArraysAreRefused promises an error that names the attribute and says
// what is unusual.
func TestUnusualArraysAreRefused(t *testing.T) {
	gone := pickle.Foreign{}
	for _, row := range []struct {
		attr string
		v    any
		want string
	}{
		{"_dtype", gone, "_dtype of a ZBigArray: not there"},
		{"_dtype", "f8", "expect a pickled numpy.dtype; got string"},
		{"_shape", gone, "_shape of a ZBigArray: not there"},
		{"_shape", pickle.Tuple{"x"}, "expect integers"},
		{"_shape", pickle.Tuple{npInt("u8", "\xff\xff\xff\xff\xff\xff\xff\xff")}, "expect integers"},
		{"_shape", pickle.Tuple{npInt("i1", "\xfd")}, "negative dimension"},
		{"_shape", pickle.Tuple{npInt("i2", "\xfd")}, "expect integers"},
		{"_shape", pickle.Tuple{npInt("f2", "\xfd\x00")}, "expect integers"},
		{"_shape", pickle.Tuple{int64(-3), int64(700)}, "negative dimension"},
		{"_shape", pickle.Tuple{int64(1 << 60), int64(700)}, "63 bits"},
		{"_shape", pickle.Tuple(slices.Repeat([]any{int64(1)}, 1000)), "1000 dimensions"},
		{"_order", "A", "expect 'C' or 'F'; got \"A\""},
		{"_order", nil, "expect 'C' or 'F'; got <nil>"},
		{"_order", "F", "(5600, 8), but shape (3, 700) of 8 bytes in F order has (8, 24)"},
		{"_stridev", pickle.Tuple{int64(8)}, "1 strides for 2 dimensions"},
		{"_stridev", nil, "expect integers"},
		{"zfile", gone, "zfile of a ZBigArray: not there"},
		{"zfile", nil, "expect a reference"},
	} {
		s := stateOf(t, "f8", 3, 700)
		set(s, row.attr, row.v)
		_, err := DecodeArray(s)
		var bad *ArrayError
		require.ErrorContains(t, err, row.want)
		require.ErrorAs(t, err, &bad)
		if row.attr != "_order" || row.v != "F" {
			require.Equal(t, row.attr, bad.Attr)
		}
	}
	for _, state := range []any{nil, "x", int64(5), pickle.Tuple{}, pickle.Tuple{"x", nil}, pickle.Tuple{nil, nil, nil}} {
		_, err := DecodeArray(state)
		var bad *ArrayError
		require.ErrorAs(t, err, &bad, "%v", state)
	}
}

// FuzzDecodeArray promises that no record makes decoding panic, and that what is
// accepted can be written and is the same then.
func FuzzDecodeArray(f *testing.F) {
	for _, dtype := range []string{"f8", "[('a', '<f8'), (('T', 'b'), '>U3', (2, 3))]", "M8[25s]"} {
		d, err := ParseDType(dtype)
		require.NoError(f, err)
		f.Add(EncodeArray(&Array{DType: d, Shape: []int64{3, 5}, Order: ColumnMajor, File: 9}))
	}
	f.Add([]byte(py2Array(py2DType("f8", "K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, state, err := pickle.Record(data)
		if err != nil {
			return
		}
		a, err := DecodeArray(state)
		if err != nil {
			var bad *ArrayError
			require.ErrorAs(t, err, &bad)
			_ = err.Error()
			return
		}
		got, _ := roundTrip(t, a)
		require.True(t, a.DType.Equal(got.DType))
		text, err := ParseDType(a.DType.String())
		require.NoError(t, err)
		require.True(t, a.DType.Equal(text))
		got.DType = a.DType
		require.Equal(t, a, got)
	})
}
