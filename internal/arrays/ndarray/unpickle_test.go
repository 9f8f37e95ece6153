package ndarray

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
)

// Pickles of Python 2 have no text: all strings are bytes, bools are numbers, and
// protocol 1 has its own opcodes.
const (
	py2Head = "cwendelin.bigarray.array_zodb\nZBigArray\nq\x01."
	py2Ref  = "(U\x08\x00\x00\x00\x00\x00\x00\x00\x07q\x20cwendelin.bigfile.file_zodb\nZBigFile\nq\x21tQ"
)

// py2Array returns a record with that dtype, shape (5,) and old attributes.
func py2Array(dtype string) string {
	return py2Head + "(}q\x02(U\x06_dtypeq\x03" + dtype + "U\x06_shapeq\x04(K\x05tq\x05u}q\x06U\x05zfileq\x07" + py2Ref + "stq\x08."
}

// py2DType returns a call of numpy.dtype and its state.
func py2DType(code, state string) string {
	return "cnumpy\ndtype\n(U" + string(rune(len(code))) + code + "K\x00K\x01tR(" + state + "tb"
}

// TestArraysOfPython2 promises that records with the strings of Python 2 are
// understood.
func TestArraysOfPython2(t *testing.T) {
	const minus = "J\xff\xff\xff\xff"
	f8 := py2DType("f8", "K\x03U\x01<NNN"+minus+minus+"K\x00")
	u2 := py2DType("U2", "K\x03U\x01>NNNK\x08K\x04K\x08")
	date := py2DType("M8", "K\x04U\x01<NNN"+minus+minus+"K\x00(}(U\x02nsK\x07K\x01K\x01tt")
	sub := py2DType("V16", "K\x03U\x01|("+f8+"(K\x02ttNNK\x10K\x08K\x00")
	old := py2DType("i4", "K\x03U\x01=NNN"+minus+minus) // numpy 1.0 to 1.4
	table := py2DType("V12", "K\x03U\x01|N(U\x01xU\x01yt}(U\x01x("+f8+"K\x00tU\x01y("+old+"K\x08U\x01TtU\x01T("+old+"K\x08U\x01TtuK\x0cK\x01K\x00")
	for dtype, want := range map[string]string{
		f8: "<f8", u2: ">U2", date: "<M8[7ns]", sub: "('<f8', (2,))", old: "<i4",
		table:                        "[('x', '<f8'), (('T', 'y'), '<i4')]",
		"cnumpy\ndtype\n(U\x03>f4tR": ">f4",
	} {
		class, state, err := pickle.Record([]byte(py2Array(dtype)))
		require.NoError(t, err, "%q", dtype)
		require.Equal(t, record.ZBigArray, class)
		a, err := DecodeArray(state)
		require.NoError(t, err, "%q", dtype)
		require.Equal(t, want, a.DType.String())
		require.Equal(t, &Array{DType: a.DType, Shape: []int64{5}, Order: RowMajor, File: 7}, a)
	}
}

// TestPickledTypesThatCannotBe promises an error for types that numpy does not
// pickle, or that are beyond reason.
func TestPickledTypesThatCannotBe(t *testing.T) {
	const minus = "J\xff\xff\xff\xff"
	f8 := py2DType("f8", "K\x03U\x01<NNN"+minus+minus+"K\x00")
	struct8 := func(names, fields string) string {
		return py2DType("V8", "K\x03U\x01|N"+names+fields+"K\x08K\x01K\x00")
	}
	for dtype, want := range map[string]string{
		"NNb":                                                                      "", // the pickle is bad already
		"cnumpy\ndtype\n(tR":                                                       "expect a pickled numpy.dtype",
		"cnumpy\nndarray\n(U\x02f8tR":                                              "expect a pickled numpy.dtype",
		"cnumpy\ndtype\n(NtR":                                                      "expect kind and size",
		"cnumpy\ndtype\n(U\x02f9tR":                                                "not a known type",
		"cnumpy\ndtype\n(U\x02O8tR":                                                "references to Python objects",
		"cnumpy\ndtype\n(U\x02f8tRK\x01b":                                          "expect a state",
		"cnumpy\ndtype\n(U\x02f8tR)b":                                              "expect a state",
		py2DType("f8", "K\x05U\x01<NNN"+minus+minus+"K\x00"):                       "none of those that numpy writes",
		py2DType("f8", "K\x03U\x02<<NNN"+minus+minus+"K\x00"):                      "none of those that numpy writes",
		py2DType("f8", "K\x03U\x01<NNNK\x04K\x04K\x00"):                            "its state says that it has 4 bytes",
		py2DType("S4", "K\x03U\x01|NNN"+minus+minus+"K\x00"):                       "its state says that it has -1 bytes",
		py2DType("M8", "K\x04U\x01<NNN"+minus+minus+"K\x00}"):                      "expect a unit",
		py2DType("M8", "K\x04U\x01<NNN"+minus+minus+"K\x00(}(U\x02nstt"):           "expect unit and number",
		py2DType("M8", "K\x04U\x01<NNN"+minus+minus+"K\x00(}(U\x02xxK\x01tt"):      "is no unit of time",
		py2DType("M8", "K\x04U\x01<NNN"+minus+minus+"K\x00(}(U\x02nsK\x01K\x02tt"): "divisors or events",
		py2DType("V8", "K\x03U\x01|("+f8+"(K\x02ttNNK\x08K\x08K\x00"):              "its state says that it has 8 bytes",
		py2DType("V8", "K\x03U\x01|NN}K\x08K\x08K\x00"):                            "",
		py2DType("V8", "K\x03U\x01|NNNK\x08K\x08K\x00"):                            "",
		py2DType("V8", "K\x03U\x01|("+f8+"K\x01t(t}K\x08K\x08K\x00"):               "both a shape and fields",
		struct8("(U\x01xt", "}"):                                                   `dtype of field "x": expect type, offset`,
		struct8("(U\x01xt", "N"):                                                   "expect names and fields",
		struct8("(NtN"[:3], "}"):                                                   "the name of field 0 is no text",
		struct8("(U\x01\xfft", "}"):                                                "the name of field 0 is no text",
		struct8("(U\x01xt", "}U\x01x("+f8+"K\x01ts"):                               "not inside the 8 bytes",
		struct8("(U\x01xt", "}U\x01x("+f8+minus+"ts"):                              "not inside the 8 bytes",
		struct8("(U\x01xt", "}U\x01x("+f8+"Nts"):                                   "the offset is no integer",
		struct8("(U\x01xt", "}U\x01x("+f8+"K\x00K\x01ts"):                          "the title is no text",
		struct8("(U\x01xt", "}U\x01x(cnumpy\ndtype\n(U\x01OtRK\x00ts"):             "field \"x\" would be references",
		struct8("(t", "}U\x01x("+f8+"K\x00ts"):                                     "0 names, but 1 fields",
	} {
		_, state, err := pickle.Record([]byte(py2Array(dtype)))
		if err == nil {
			_, err = DecodeArray(state)
			if want == "" {
				continue
			}
			require.ErrorContains(t, err, want, "%q", dtype)
		}
		require.Error(t, err)
	}
}

// TestSharedTypesStaySmall promises that a small pickle whose types refer to each
// other many times, or to themselves, is refused before it becomes big.
func TestSharedTypesStaySmall(t *testing.T) {
	dtype := &pickle.Object{New: record.Class{Module: "numpy", Name: "dtype"}, Args: pickle.Tuple{"V0", false, true}}
	level := dtype
	for range 20 {
		names, fields := pickle.Tuple{}, &pickle.Dict{}
		for _, name := range strings.Split("abcdefgh", "") {
			names = append(names, name)
			fields.Items = append(fields.Items, pickle.Item{Key: name, Value: pickle.Tuple{level, int64(0)}})
		}
		level = &pickle.Object{New: dtype.New, Args: dtype.Args,
			State: pickle.Tuple{int64(3), "|", nil, names, fields, int64(0), int64(1), int64(16)}}
	}
	s := stateOf(t, "f8", 3)
	set(s, "_dtype", level)
	_, err := DecodeArray(s)
	require.ErrorContains(t, err, "more than 65536 fields")

	dtype.State = pickle.Tuple{int64(3), "|", pickle.Tuple{dtype, pickle.Tuple{int64(1)}}, nil, nil, int64(0), int64(1), int64(0)}
	set(s, "_dtype", dtype)
	_, err = DecodeArray(s)
	require.ErrorContains(t, err, "nested more than 32 times")

	long := strings.Repeat("x", maxText/2)
	fields := &pickle.Dict{}
	f8 := &pickle.Object{New: dtype.New, Args: pickle.Tuple{"f8"}}
	for _, name := range []string{"a", "b", "c"} {
		fields.Items = append(fields.Items, pickle.Item{Key: name + long, Value: pickle.Tuple{f8, int64(0)}})
	}
	names := pickle.Tuple{"a" + long, "b" + long, "c" + long}
	set(s, "_dtype", &pickle.Object{New: dtype.New, Args: pickle.Tuple{"V8"},
		State: pickle.Tuple{int64(3), "|", nil, names, fields, int64(8), int64(1), int64(16)}})
	_, err = DecodeArray(s)
	require.ErrorContains(t, err, "names of more than")
}

// TestAlignmentIsKept promises that a type that was built with align=True is still
// one after a change of the array, though this makes no difference for the bytes.
func TestAlignmentIsKept(t *testing.T) {
	d, err := newStruct([]field{{name: "a", dtype: mustParse(t, "u1")}, {name: "b", offset: 8, dtype: mustParse(t, "c16")}}, 24, true)
	require.NoError(t, err)
	require.True(t, d.Equal(mustParse(t, "[('a', 'u1'), ('', 'V7'), ('b', 'c16')]")))
	a, state := roundTrip(t, &Array{DType: d, Order: RowMajor})
	dtype, _ := state[0].(*pickle.Dict).Get("_dtype")
	require.True(t, strings.HasSuffix(pyRepr(dtype), "24, 8, 144)"), pyRepr(dtype))
	_, again := roundTrip(t, a)
	require.Equal(t, pyRepr(state), pyRepr(again))
}
