package ndarray

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

// dtypeTable has types of every kind: as people write them, as numpy prints them,
// their size, and how numpy pickles them (the facts are numpy's).
var dtypeTable = []struct {
	in, want string
	size     int64
	pickled  string
}{
	{"bool", "|b1", 1, "numpy.dtype('b1', False, True)(3, '|', None, None, None, -1, -1, 0)"},
	{"?", "|b1", 1, ""},
	{"<b1", "|b1", 1, ""},
	{"b", "|i1", 1, "numpy.dtype('i1', False, True)(3, '|', None, None, None, -1, -1, 0)"},
	{"uint8", "|u1", 1, ""},
	{"int16", "<i2", 2, ""},
	{"uint16", "<u2", 2, ""},
	{">i4", ">i4", 4, "numpy.dtype('i4', False, True)(3, '>', None, None, None, -1, -1, 0)"},
	{"int", "<i8", 8, ""},
	{"=u8", "<u8", 8, ""},
	{"|u8", "<u8", 8, ""},
	{" int64 ", "<i8", 8, ""},
	{"float16", "<f2", 2, ""},
	{"float32", "<f4", 4, ""},
	{"f8", "<f8", 8, "numpy.dtype('f8', False, True)(3, '<', None, None, None, -1, -1, 0)"},
	{"<d", "<f8", 8, ""},
	{"longdouble", "<f16", 16, "numpy.dtype('f16', False, True)(3, '<', None, None, None, -1, -1, 0)"},
	{"float128", "<f16", 16, ""},
	{"complex64", "<c8", 8, ""},
	{">D", ">c16", 16, "numpy.dtype('c16', False, True)(3, '>', None, None, None, -1, -1, 0)"},
	{"c32", "<c32", 32, ""},
	{"S4", "|S4", 4, "numpy.dtype('S4', False, True)(3, '|', None, None, None, 4, 1, 0)"},
	{">S4", "|S4", 4, ""},
	{"c", "|S1", 1, ""},
	{"U12", "<U12", 48, "numpy.dtype('U12', False, True)(3, '<', None, None, None, 48, 4, 8)"},
	{">U1", ">U1", 4, "numpy.dtype('U1', False, True)(3, '>', None, None, None, 4, 4, 8)"},
	{"V16", "|V16", 16, "numpy.dtype('V16', False, True)(3, '|', None, None, None, 16, 1, 0)"},
	{"S0", "|S0", 0, ""},
	{"M8", "<M8", 8, "numpy.dtype('M8', False, True)(4, '<', None, None, None, -1, -1, 0, ({}, (b'generic', 1, 1, 1)))"},
	{"<M8[ns]", "<M8[ns]", 8, "numpy.dtype('M8', False, True)(4, '<', None, None, None, -1, -1, 0, ({}, (b'ns', 1, 1, 1)))"},
	{"datetime64[D]", "<M8[D]", 8, ""},
	{"timedelta64", "<m8", 8, ""},
	{"m8[generic]", "<m8", 8, ""},
	{">m8[25s]", ">m8[25s]", 8, "numpy.dtype('m8', False, True)(4, '>', None, None, None, -1, -1, 0, ({}, (b's', 25, 1, 1)))"},
	{"m8[1\u03bcs]", "<m8[us]", 8, ""},
	{"('>i4', (2, 3))", "('>i4', (2, 3))", 24,
		"numpy.dtype('V24', False, True)(3, '|', (numpy.dtype('i4', False, True)(3, '>', None, None, None, -1, -1, 0), (2, 3)), None, None, 24, 4, 0)"},
	{"('U1', 2)", "('<U1', (2,))", 8,
		"numpy.dtype('V8', False, True)(3, '|', (numpy.dtype('U1', False, True)(3, '<', None, None, None, 4, 4, 8), (2)), None, None, 8, 4, 8)"},
	{"('<f8', ())", "<f8", 8, ""},
	{"('<f8', (3, 0))", "('<f8', (3, 0))", 0, ""},
	{"[('t', 'f8')]", "[('t', '<f8')]", 8,
		"numpy.dtype('V8', False, True)(3, '|', None, ('t'), {'t': (numpy.dtype('f8', False, True)(3, '<', None, None, None, -1, -1, 0), 0)}, 8, 1, 16)"},
	{"[('a', 'U1'), ('b', 'b1')]", "[('a', '<U1'), ('b', '|b1')]", 5,
		"numpy.dtype('V5', False, True)(3, '|', None, ('a', 'b'), {'a': (numpy.dtype('U1', False, True)(3, '<', None, None, None, 4, 4, 8), 0), " +
			"'b': (numpy.dtype('b1', False, True)(3, '|', None, None, None, -1, -1, 0), 4)}, 5, 1, 24)"},
	{"[(('T', 't'), '<i2')]", "[(('T', 't'), '<i2')]", 2,
		"numpy.dtype('V2', False, True)(3, '|', None, ('t'), {'t': (numpy.dtype('i2', False, True)(3, '<', None, None, None, -1, -1, 0), 0, 'T'), " +
			"'T': (numpy.dtype('i2', False, True)(3, '<', None, None, None, -1, -1, 0), 0, 'T')}, 2, 1, 16)"},
	{"[('t', '<f8'), ('v', '>i4', (2, 3))]", "[('t', '<f8'), ('v', '>i4', (2, 3))]", 32, ""},
	{"[('a', '|u1'), ('', '|V3'), ('b', '<i4'), ('', '|V4')]", "[('a', '|u1'), ('', '|V3'), ('b', '<i4'), ('', '|V4')]", 12, ""},
	{"[('p', [('x', 'f4'), ('y', 'f4')], 2), ('q', ('f4', 2), (3,))]",
		"[('p', [('x', '<f4'), ('y', '<f4')], (2,)), ('q', ('<f4', (2,)), (3,))]", 40, ""},
	{"[]", "[]", 0, "numpy.dtype('V0', False, True)(3, '|', None, (), {}, 0, 1, 16)"},
	{"{'names': ['b', 'a'], 'formats': ['<i4', '<i2'], 'offsets': [4, 0]}",
		"{'names': ['b', 'a'], 'formats': ['<i4', '<i2'], 'offsets': [4, 0], 'itemsize': 8}", 8, ""},
	{"{'names': ['a', 'b'], 'formats': ['<i4', '<i2'], 'titles': ['A', None], 'itemsize': 8, 'aligned': True}",
		"[(('A', 'a'), '<i4'), ('b', '<i2'), ('', '|V2')]", 8, ""},
	{"{'names': ['a', 'b'], 'formats': ['<i4', '<i2'], 'offsets': [0, 0], 'titles': ['A', None]}",
		"{'names': ['a', 'b'], 'formats': ['<i4', '<i2'], 'offsets': [0, 0], 'titles': ['A', None], 'itemsize': 4}", 4, ""},
	{`[("it's", '|u1'), ('"', '|u1'), ('\'"', '|u1'), ('\n\t\\', '|u1'), ('\xe9\u200b', '|u1')]`,
		`[("it's", '|u1'), ('"', '|u1'), ('\'"', '|u1'), ('\n\t\\', '|u1'), ('` + "\u00e9" + `\u200b', '|u1')]`, 5, ""},
}

// TestTypesOfEveryKind promises that types are understood as numpy understands
// them, printed as numpy prints them, and pickled as numpy pickles them.
func TestTypesOfEveryKind(t *testing.T) {
	for _, row := range dtypeTable {
		d := mustParse(t, row.in)
		require.Equal(t, row.want, d.String(), row.in)
		require.Equal(t, row.size, d.Size(), row.in)
		again := mustParse(t, d.String())
		require.True(t, d.Equal(again), row.in)
		require.Equal(t, d.String(), again.String())
		a, state := roundTrip(t, &Array{DType: d, Order: RowMajor})
		require.True(t, d.Equal(a.DType), row.in)
		if row.pickled != "" {
			dtype, _ := state[0].(*pickle.Dict).Get("_dtype")
			require.Equal(t, row.pickled, pyRepr(dtype), row.in)
		}
	}
}

// TestTypesAreEqualIfTheyPrintTheSame promises that Equal and String tell the same
// types apart.
func TestTypesAreEqualIfTheyPrintTheSame(t *testing.T) {
	var all []*DType
	for _, row := range dtypeTable {
		all = append(all, mustParse(t, row.in))
	}
	for _, s := range []string{
		"[('t', '<f8'), ('v', '>i4', (3, 2))]", "[('t', '<f8'), ('w', '>i4', (2, 3))]", "[(('U', 't'), '<i2')]",
		"{'names': ['b', 'a'], 'formats': ['<i4', '<i2'], 'offsets': [4, 2]}",
		"[('t', '<i2')]", "M8[ns]", "M8[2ns]", "('<i4', (2, 3))", "V24", "S24", "V0",
	} {
		all = append(all, mustParse(t, s))
	}
	for _, a := range all {
		for _, b := range all {
			require.Equal(t, a.String() == b.String(), a.Equal(b), "%s %s", a, b)
		}
	}
}

// badScalars are types that cannot be, with the error that each gives; "" is none.
func badScalars() map[string]string {
	return map[string]string{
		"":                                    "not a known type",
		"f":                                   "",
		"f7":                                  "not a known type",
		"i-4":                                 "not a known type",
		"f+8":                                 "not a known type",
		"float":                               "",
		"float7":                              "not a known type",
		"int08":                               "not a known type",
		"<":                                   "not a known type",
		"<<f8":                                "not a known type",
		"hello":                               "not a known type",
		"f8,i4":                               "not a known type",
		"S-1":                                 "not a known type",
		"S":                                   "",
		"S4294967296":                         "cannot have more than 2147483647 bytes",
		"U999999999":                          "cannot have more than 2147483647 bytes",
		"S99999999999999999999":               "not a known type",
		"M8[x]":                               "is no unit of time",
		"M8[]":                                "is no unit of time",
		"M8[ns":                               "not a known type",
		"M8[0s]":                              "no possible number",
		"M8[2generic]":                        "is no unit of time",
		"M8[99999999999999999999s]":           "no possible number",
		"M4":                                  "not a known type",
		"[('a', 'f8'), ('a', 'f8')]":          `field "a" occurs twice`,
		"[(('a', 'b'), 'f8'), ('a', 'f8')]":   `field "a" occurs twice`,
		"[('a', 'f8'), (('a', 'b'), 'f8')]":   `field "b" occurs twice`,
		"[('', 'f8')]":                        "a field has no name",
		"[('a', 'nope')]":                     `dtype "nope" of field "a": not a known type`,
		"[('a',)]":                            "no tuple of name, type",
		"['f8', 'i4']":                        "no tuple of name, type",
		"[(1, 'f8')]":                         "is no string",
		"[((1, 'a'), 'f8')]":                  "is no string",
		"[('a', 'f8', (2,), 3)]":              "no tuple of name, type",
		"[('a', 'f8', 'b')]":                  "no tuple of integers",
		"[('a', 'f8', (-2,))]":                "negative dimension",
		"[('a', 'S2147483647'), ('b', 'S1')]": "a structure of 2147483648 bytes",
	}
}

// badTexts are texts that say no type, with the errors that they give.
func badTexts() map[string]string {
	deep := strings.Repeat("[('a', ", 40) + "'f8'" + strings.Repeat(")]", 40)
	return map[string]string{
		"('f8', (1000000, 1000000))":                 "has more than 2147483647 bytes",
		"('f8', (4611686018427387904, 4))":           "63 bits",
		"('f8', (" + strings.Repeat("1,", 65) + "))": "65 dimensions",
		"('f8', 'x', 2)":                             "expect a string, a list",
		"[('a', 'f8')":                               "the text ends too early",
		"[('a', 'f8'":                                "the text ends too early",
		"[('a', 'f8')] x":                            "more behind the end",
		"[('a' 'f8')]":                               "expect a comma",
		"[('a', f8)]":                                `unexpected 'f'`,
		"('f8":                                       "string without end",
		`('f8\`:                                      "string without end",
		`('f8', 1e3)`:                                "expect a comma",
		`('\ud800', 3)`:                              "is no character",
		`('f8', 99999999999999999999)`:               "no integer of 64 bits",
		deep:                                         "nested more than 32 times",
		strings.Repeat("[", 10000):                   "brackets are nested more than",
		"{'names': ['a'], 'formats': []}":            "1 names, but 0 formats",
		"{'names': ['a']}":                           "1 names, but 0 formats",
		"{'names': ['a'], 'formats': ['f8'], 'offsets': [1, 2]}":                "1 names, but 2 offsets",
		"{'names': ['a'], 'formats': ['f8'], 'offsets': [-1]}":                  "offset of field",
		"{'names': ['a'], 'formats': ['f8'], 'offsets': [9223372036854775807]}": "offset of field",
		"{'names': ['a'], 'formats': ['f8'], 'offsets': [1], 'itemsize': 8}":    "not inside the 8 bytes",
		"{'names': ['a'], 'formats': ['f8'], 'itemsize': 99999999999}":          "a structure of 99999999999 bytes",
		"{'names': ['a'], 'formats': ['f8'], 'itemsize': -1}":                   `"itemsize" in the dict`,
		"{'names': ['a'], 'formats': ['f8'], 'titles': [3]}":                    "title of field",
		"{'names': [3], 'formats': ['f8']}":                                     "name of a field",
		"{'name': ['a']}":                                                       "unknown key",
		"{1: 2}":                                                                "expect a string and a colon",
	}
}

// TestTypesThatCannotBe promises an error of the right kind, which says what is
// wrong.
func TestTypesThatCannotBe(t *testing.T) {
	all := badScalars()
	maps.Copy(all, badTexts())
	for in, want := range all {
		_, err := ParseDType(in)
		if want == "" {
			require.NoError(t, err, in)
			continue
		}
		require.ErrorContains(t, err, want, in)
		var bad *DTypeError
		require.ErrorAs(t, err, &bad, in)
		require.Less(t, len(err.Error()), 400)
	}
}

// TestObjectTypesAreRefused promises that types with references to Python objects
// are told from types that are not understood, and where they are.
func TestObjectTypesAreRefused(t *testing.T) {
	for in, field := range map[string]string{
		"O": "", "|O": "", "|O8": "", "object": "", "('O', 3)": "",
		"[('a', 'f8'), ('b', 'O')]":                "b",
		"[('a', [('x', 'i4'), ('y', 'O', (2,))])]": "a.y",
		"{'names': ['z'], 'formats': ['O']}":       "z",
	} {
		_, err := ParseDType(in)
		var object *ObjectDTypeError
		require.ErrorAs(t, err, &object, in)
		require.Equal(t, field, object.Field, in)
		require.Contains(t, err.Error(), "references to Python objects")
	}
}

// TestTypesWithThousandsOfFields promises that they work, and that more than any
// table has are refused.
func TestTypesWithThousandsOfFields(t *testing.T) {
	text := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "('f%d', '<i4'), ", i)
		}
		return "[" + b.String() + "]"
	}
	d := mustParse(t, text(5000))
	require.EqualValues(t, 20000, d.Size())
	a, _ := roundTrip(t, &Array{DType: d, Shape: []int64{3}, Order: RowMajor})
	require.True(t, d.Equal(a.DType))
	_, err := ParseDType(text(maxFields + 1))
	require.Error(t, err)
}

// TestAnyTypeComesBackFromItsText promises that what String returns is understood
// as the same type, whatever the type is.
func TestAnyTypeComesBackFromItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := dtypes(3, rapid.Bool().Draw(t, "wild")).Draw(t, "dtype")
		got, err := ParseDType(d.String())
		require.NoError(t, err, d.String())
		require.True(t, d.Equal(got), d.String())
		require.Equal(t, d.String(), got.String())
		require.Equal(t, d.Size(), got.Size())
	})
}
