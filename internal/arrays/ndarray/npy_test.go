package ndarray

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// npy returns a header of that version around a text.
func npy(major byte, text string) string {
	n := len(text)
	size := []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
	if major == 1 {
		size = size[:2]
	}
	return npyMagic + string([]byte{major, 0}) + string(size) + text
}

func dictOf(descr, shape string) string {
	return "{'descr': " + descr + ", 'fortran_order': False, 'shape': " + shape + ", }"
}

// TestHeadersAsNumpyWritesThem promises headers byte for byte.
func TestHeadersAsNumpyWritesThem(t *testing.T) {
	for _, row := range []struct {
		dtype string
		shape []int64
		order Order
		want  string // the text
		len   int    // of all
	}{
		{"f8", []int64{3}, RowMajor, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", 128},
		{"f8", []int64{3}, ColumnMajor, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", 128},
		{">i4", []int64{2, 3}, ColumnMajor, "{'descr': '>i4', 'fortran_order': True, 'shape': (2, 3), }", 128},
		{"M8[ns]", nil, RowMajor, "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (), }", 128},
		{"('f4', (2, 2))", []int64{5}, RowMajor, "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 2, 2), }", 128},
		{"[('t', 'f8'), ('v', '>i4', 3)]", []int64{0}, RowMajor,
			"{'descr': [('t', '<f8'), ('v', '>i4', (3,))], 'fortran_order': False, 'shape': (0,), }", 128},
		{"[('t', 'f8'), ('v', '>i4', 3)]", []int64{5, 1000000000000000}, ColumnMajor, // here the last dimension grows
			"{'descr': [('t', '<f8'), ('v', '>i4', (3,))], 'fortran_order': True, 'shape': (5, 1000000000000000), }", 128},
		{"{'names': ['a'], 'formats': ['u1'], 'offsets': [3], 'itemsize': 8}", []int64{12345}, RowMajor,
			"{'descr': [('', '|V3'), ('a', '|u1'), ('', '|V4')], 'fortran_order': False, 'shape': (12345,), }", 128},
		{"[('a', 'u1'), ('bcd', '>i4'), ('e', 'U10')]", []int64{5}, RowMajor, // 107 bytes, but 21 digits must fit
			"{'descr': [('a', '|u1'), ('bcd', '>i4'), ('e', '<U10')], 'fortran_order': False, 'shape': (5,), }", 192},
	} {
		b, err := (&Header{mustParse(t, row.dtype), row.shape, row.order}).Encode()
		require.NoError(t, err)
		require.Len(t, b, row.len, row.want)
		want := npy(1, row.want+strings.Repeat(" ", row.len-10-len(row.want)-1)+"\n")
		require.Equal(t, want, string(b))
	}
}

// TestHeaderVersions promises the oldest format that can hold a type, always a
// multiple of 64 bytes.
func TestHeaderVersions(t *testing.T) {
	long := strings.Repeat("x", 70000)
	for _, row := range []struct {
		dtype   string
		version byte
	}{
		{"f8", 1},
		{"[('\u00e9', 'f8')]", 1},
		{"[('" + long + "', 'f8')]", 2},
		{"[('\u20ac', 'f8')]", 3},
		{"[('" + long[:60000] + "', 'f8')]", 1},
	} {
		h := &Header{mustParse(t, row.dtype), []int64{4, 5}, RowMajor}
		b, err := h.Encode()
		require.NoError(t, err)
		require.Equal(t, row.version, b[6])
		require.Zero(t, len(b)%64)
		got, err := ReadHeader(bytes.NewReader(b))
		require.NoError(t, err)
		sameHeader(t, h, got)
	}
}

// TestPaddingOfEveryLength promises that headers around the limit of format 1.0
// are whole, whatever their length is.
func TestPaddingOfEveryLength(t *testing.T) {
	for n := 65536 - 130; n < 65536; n++ {
		h := &Header{mustParse(t, "[('"+strings.Repeat("x", n)+"', 'f8')]"), []int64{4}, RowMajor}
		b, err := h.Encode()
		require.NoError(t, err)
		require.Zero(t, len(b)%64)
		got, err := ReadHeader(bytes.NewReader(b))
		require.NoError(t, err)
		sameHeader(t, h, got)
	}
}

// TestAnyHeaderComesBack promises that a header says all of type, shape and order,
// and that reading it takes exactly its bytes.
func TestAnyHeaderComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &Header{dtypes(3, false).Draw(t, "dtype"), shapes().Draw(t, "shape"), orders().Draw(t, "order")}
		if _, err := arrayBytes(h.DType.size, h.Shape); err != nil || h.DType.isSub() {
			t.Skip()
		}
		align := rapid.SampledFrom([]int{64, 4096, 65536}).Draw(t, "align")
		b, err := h.EncodeAligned(align)
		require.NoError(t, err, h.DType.String())
		require.Zero(t, len(b)%align)
		if len(h.Shape) < 2 {
			h.Order = RowMajor // which is the same then
		}
		rest := strings.NewReader(string(b) + "items")
		got, err := ReadHeader(iotest.OneByteReader(rest))
		require.NoError(t, err)
		sameHeader(t, h, got)
		require.Equal(t, len("items"), rest.Len())
	})
}

// TestWildTypesAreRefusedOrRight promises that a type that .npy has no words for is
// refused, and not written as another one.
func TestWildTypesAreRefusedOrRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &Header{dtypes(2, true).Draw(t, "dtype"), nil, RowMajor}
		b, err := h.Encode()
		require.Equal(t, strings.Contains(h.DType.String(), "{'names': ["), err != nil, h.DType.String())
		if err != nil {
			var layout *LayoutError
			require.ErrorAs(t, err, &layout)
			return
		}
		got, err := ReadHeader(bytes.NewReader(b))
		require.NoError(t, err)
		plain, err := h.flatten()
		require.NoError(t, err)
		require.True(t, plain.DType.Equal(got.DType))
	})
}

// TestHeadersThatCannotBeWritten promises a typed error that names the field.
func TestHeadersThatCannotBeWritten(t *testing.T) {
	overlap := "{'names': ['x', 'y'], 'formats': ['i4', 'i2'], 'offsets': [0, 2]}"
	for _, row := range []struct {
		h    Header
		want string
	}{
		{Header{mustParse(t, overlap), []int64{3}, RowMajor}, `field "y" overlaps another one`},
		{Header{mustParse(t, strings.Replace(overlap, "2]", "3]", 1)), []int64{3}, RowMajor}, `field "y" overlaps another one`},
		{Header{mustParse(t, "[('a', 'i4'), ('b', "+overlap+", 2)]"), []int64{3}, RowMajor}, `field "b.y" overlaps`},
		{Header{mustParse(t, "('f8', 2)"), []int64{3, 2}, ColumnMajor}, "column-major"},
		{Header{mustParse(t, "[('"+strings.Repeat("x", maxText-20)+"', 'f8')]"), []int64{3}, RowMajor}, "takes 1048"},
	} {
		_, err := row.h.Encode()
		var layout *LayoutError
		require.ErrorAs(t, err, &layout)
		require.ErrorContains(t, err, row.want)
	}
	_, err := (&Header{mustParse(t, "f8"), []int64{-1}, RowMajor}).Encode()
	var shape *ShapeError
	require.ErrorAs(t, err, &shape)
}

// TestHeadersOfOthers promises that headers are understood which are right but not
// what is written here: those of Python 2 and of other programs.
func TestHeadersOfOthers(t *testing.T) {
	for _, row := range []struct{ file, want string }{
		{npy(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3L, 4L), }  \n"), "<f8 (3, 4) C"},
		{npy(1, `{"shape":(3,),"fortran_order":True,"descr":"|u1"}`), "|u1 (3,) F"},
		{npy(2, dictOf("'=i4'", "()")), "<i4 () C"},
		{npy(2, dictOf("[(u'a', u'<f8'),]", "(1,)")), "[('a', '<f8')] (1,) C"},
		{npy(1, dictOf("[('\xe9', '<f8')]", "(1,)")), "[('\u00e9', '<f8')] (1,) C"},
		{npy(3, dictOf("[('\u20ac', '<f8')]", "(1,)")), "[('\u20ac', '<f8')] (1,) C"},
		{npy(1, dictOf("('<f8', (2,))", "(1,)")), "('<f8', (2,)) (1,) C"},
		{npy(1, dictOf("[(('title', 'a'), '<f8')]", "(1,)")), "[(('title', 'a'), '<f8')] (1,) C"},
	} {
		h, err := ReadHeader(strings.NewReader(row.file))
		require.NoError(t, err, row.file)
		require.Equal(t, row.want, h.DType.String()+" "+ShapeText(h.Shape)+" "+string(rune(h.Order)))
	}
}

// TestFilesThatAreNoArrays promises a typed error that says what is wrong, and what
// to do where something can be done.
func TestFilesThatAreNoArrays(t *testing.T) {
	good := dictOf("'<f8'", "(3,)")
	for file, want := range map[string]string{
		"":                                    "ends too early",
		"hello world":                         `begins with "hello wo"`,
		"hi":                                  `begins with "hi"`,
		"PK\x03\x04 and more":                 "npz",
		"\x80\x04\x95 and more":               "Python pickle",
		npyMagic + "\x04\x00":                 "format 4.0 is not known",
		npyMagic + "\x01\x01":                 "format 1.1 is not known",
		npyMagic + "\x00\x00":                 "format 0.0 is not known",
		npyMagic + "\x02\x00\xff\xff\xff\xff": "4294967295 bytes long; at most 1048576",
		npy(3, strings.Replace(good, "descr", "\xff", 1)): "not valid UTF-8",
		npy(1, ""):        "the text ends too early",
		npy(1, "[1, 2]"):  "expect a dict",
		npy(1, "{}"):      "expect a dict of descr",
		npy(1, good[:20]): "no Python literal",
		npy(1, good+"x"):  "more behind the end",
		npy(1, strings.Replace(good, "False", "0", 1)):            "fortran_order (a bool)",
		npy(1, strings.Replace(good, "(3,)", "[3]", 1)):           "shape (a tuple)",
		npy(1, strings.Replace(good, "(3,)", "(3)", 1)):           "shape (a tuple)",
		npy(1, strings.Replace(good, "(3,)", "('x',)", 1)):        "no tuple of integers",
		npy(1, strings.Replace(good, "}", "'x': 1}", 1)):          "expect a dict of descr",
		npy(1, dictOf("'<f8'", "(-3,)")):                          "negative dimension",
		npy(1, dictOf("'<f8'", "(4611686018427387904, 4)")):       "63 bits",
		npy(1, dictOf("'<f8'", "("+strings.Repeat("1,", 65)+")")): "65 dimensions",
		npy(1, dictOf("'<f9'", "(3,)")):                           "not a known type",
		npy(1, dictOf("b'<f8'", "(3,)")):                          `unexpected 'b'`,
		npy(1, dictOf("__import__('os')", "(3,)")):                `unexpected '_'`,
	} {
		_, err := ReadHeader(strings.NewReader(file))
		var bad *HeaderError
		require.ErrorAs(t, err, &bad, "%q", file)
		require.ErrorContains(t, err, want, "%q", file)
	}
	for _, descr := range []string{"'|O'", "'|O8'", "[('a', '<f8'), ('b', '|O')]"} {
		_, err := ReadHeader(strings.NewReader(npy(1, dictOf(descr, "(3,)"))))
		var object *ObjectDTypeError
		require.ErrorAs(t, err, &object)
	}
}

// TestHeadersThatEndTooEarly promises io.ErrUnexpectedEOF wherever a file is cut
// off, and the error of the reader if it has one.
func TestHeadersThatEndTooEarly(t *testing.T) {
	for _, major := range []byte{1, 2, 3} {
		file := npy(major, dictOf("'<f8'", "(3,)"))
		for n := range len(file) {
			_, err := ReadHeader(strings.NewReader(file[:n]))
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			mine := errors.New("mine")
			_, err = ReadHeader(io.MultiReader(strings.NewReader(file[:n]), iotest.ErrReader(mine)))
			require.ErrorIs(t, err, mine)
		}
	}
}

// FuzzReadHeader promises that no file makes reading panic, and that what is
// accepted can be written and is the same then.
func FuzzReadHeader(f *testing.F) {
	for _, text := range []string{
		dictOf("'<f8'", "(3,)"), dictOf("[(('T', 'a'), '<U3'), ('', '|V4'), ('b', [('x', '<M8[ns]', (2,))])]", "(3, 0)"),
		dictOf(`{'names': ['\x61', "\u20ac"], 'formats': ['i4', ('i2', 2)], 'offsets': [2, 0], 'itemsize': 9}`, "()"),
	} {
		for major := byte(1); major <= 3; major++ {
			f.Add([]byte(npy(major, text)))
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r := bytes.NewReader(file)
		h, err := ReadHeader(r)
		if err != nil {
			var bad *HeaderError
			require.ErrorAs(t, err, &bad)
			_ = err.Error()
			return
		}
		a := &Array{h.DType, h.Shape, h.Order, 7}
		got, _ := roundTrip(t, a)
		require.True(t, a.DType.Equal(got.DType), a.DType.String())
		b, err := h.Encode()
		if err != nil {
			var layout *LayoutError
			var shape *ShapeError
			require.True(t, errors.As(err, &layout) || errors.As(err, &shape))
			return
		}
		again, err := ReadHeader(bytes.NewReader(b))
		require.NoError(t, err)
		if !h.DType.isSub() {
			sameHeader(t, h, again)
		}
	})
}
