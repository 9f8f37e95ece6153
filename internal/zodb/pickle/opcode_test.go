package pickle

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var someClass = Class{Module: "m", Name: "C"}

const someOid = "\x00\x00\x00\x00\x00\x00\x01\x02"

// TestOpcodesThatPythonSeldomWrites has what is not in vectors.txt: opcodes of
// Python 2 and of other writers.
func TestOpcodesThatPythonSeldomWrites(t *testing.T) {
	one := int64(1)
	object := func(args ...any) *Object { return &Object{New: someClass, Args: append(Tuple{}, args...)} }
	for _, c := range []struct {
		pickle string
		want   any
	}{
		// numbers
		{"I00\n.", false}, {"I01\n.", true}, {"I-12\n.", int64(-12)}, {"I99999999999999999999\n.", bigInt("99999999999999999999")},
		{"L-5L\n.", int64(-5)}, {"L5\n.", int64(5)}, {"\x8a\x00.", int64(0)}, {"\x8a\x01\xff.", int64(-1)},
		{"\x8b\x02\x00\x00\x00\x00\x80.", int64(-32768)}, {"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00.", bigInt("18446744073709551615")},
		{"F-1.5e3\n.", -1500.0}, {"Finf\n.", math.Inf(1)}, {"F1e999\n.", math.Inf(1)},
		// strings of Python 2, and escapes
		{"U\x02a\xff.", Bytes("a\xff")}, {"T\x01\x00\x00\x00a.", Bytes("a")},
		{`S'a\'\"\\\n\r\t\a\b\f\v\x41\101\0\18\777\q'` + "\n.", Bytes("a'\"\\\n\r\t\a\b\f\vAA\x00\x018\xff\\q")},
		{`S"it's"` + "\n.", Bytes("it's")}, {"S''\n.", Bytes("")},
		{`Va\u20ac\U0001f600` + "\xe9\n.", "a\u20ac\U0001f600\u00e9"}, {`V\\u20ac\n\` + "\n.", `\\u20ac\n\`}, {`V\udc80` + "\n.", "\xed\xb2\x80"},
		{"\x8c\x01a.", "a"}, {"\x8d\x01\x00\x00\x00\x00\x00\x00\x00a.", "a"}, {"\x8e\x01\x00\x00\x00\x00\x00\x00\x00a.", Bytes("a")},
		// bytes at protocols below 3
		{"c_codecs\nencode\n(X\x02\x00\x00\x00\xc3\xa9U\x06latin1tR.", Bytes("\xe9")},
		{"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x07\x00\x00\x00latin-1tR.", Bytes("a")},
		{"c_codecs\nencode\n(X\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1tR.",
			&Object{New: Class{Module: "_codecs", Name: "encode"}, Args: Tuple{"\u20ac", "latin1"}}},
		{"cbuiltins\nbytes\n)R.", Bytes("")}, {"c__builtin__\nbytes\n)R.", Bytes("")},
		// stack
		{"K\x01K\x020.", one}, {"K\x01(0.", one}, {"K\x01(K\x02K\x031.", one}, {"K\x012\x86.", Tuple{one, one}}, {"((t(0l.", &List{[]any{Tuple{}}}},
		// memo
		{"K\x01p7\n0g7\n.", one}, {"K\x01r\x09\x00\x00\x000j\x09\x00\x00\x00.", one}, {"K\x01\x94K\x02\x94h\x00\x87.", Tuple{one, int64(2), one}},
		{"K\x01q\x05K\x02\x94h\x01\x86\x86.", Tuple{one, Tuple{int64(2), int64(2)}}}, // MEMOIZE counts entries
		// containers
		{"(K\x01l.", &List{[]any{one}}}, {"]K\x01a.", &List{[]any{one}}}, {"(K\x01Nd.", &Dict{[]Item{{one, nil}}}},
		{"}K\x01NsK\x01\x88s.", &Dict{[]Item{{one, nil}, {one, true}}}}, {"\x8f(K\x01\x90.", &Object{New: Class{Module: "builtins", Name: "set"}, Items: []any{one}}},
		// objects
		{"(K\x01im\nC\n.", object(one)}, {"(cm\nC\nK\x01o.", object(one)}, {"(im\nC\n.", object()},
		{"cm\nC\n)\x81.", object()}, {"\x8c\x01m\x8c\x01C\x93.", someClass}, {"U\x01mU\x01C\x93.", someClass},
		{"cm\nC\n)\x81K\x01bK\x02b.", &Object{New: someClass, Args: Tuple{}, State: int64(2)}},
		{"cm\nC\n)RK\x01aK\x02Ns.", &Object{New: someClass, Args: Tuple{}, Items: []any{one}, Dict: []Item{{int64(2), nil}}}},
		{"K\x01)R.", &Object{New: one, Args: Tuple{}}},
		// references
		{"U\x08" + someOid + "Q.", Ref{Oid: 0x102}}, {"X\x08\x00\x00\x00" + someOid + "Q.", Ref{Oid: 0x102}},
		{"U\x08" + someOid + "cm\nC\n\x86Q.", Ref{0x102, someClass}}, {"C\x08" + someOid + "C\x01mC\x01C\x86\x86Q.", Ref{0x102, someClass}},
		{"C\x08" + someOid + "C\x08" + someOid + "Q\x86Q.", Ref{Oid: 0x102}}, // the class is an object
		{"Pabcdefgh\n.", Ref{Oid: 0x6162636465666768}}, {"Pabc\n.", Foreign{"abc"}}, {"NQ.", Foreign{nil}},
		{"C\x07" + someOid[1:] + "Q.", Foreign{Bytes(someOid[1:])}}, {"X\x08\x00\x00\x00\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9Q.", Foreign{"\u00e9\u00e9\u00e9\u00e9"}},
		{"](U\x01mU\x01dU\x08" + someOid + "eQ.", Foreign{&List{[]any{Bytes("m"), Bytes("d"), Bytes(someOid)}}}},
		// framing
		{"\x80\x05\x95\x02\x00\x00\x00\x00\x00\x00\x00N.", nil}, {"\x80\x01\x80\x02N.", nil},
	} {
		got, err := Decode([]byte(c.pickle))
		require.NoError(t, err, "%q", c.pickle)
		require.Equal(t, c.want, got, "%q", c.pickle)
	}
}

func bigInt(digits string) *big.Int {
	x, _ := new(big.Int).SetString(digits, 10)
	return x
}

func TestMalformedPicklesGiveErrors(t *testing.T) {
	for _, c := range []struct {
		pickle string
		pos    int
		msg    string
	}{
		{"", 0, "ends inside"}, {"N", 1, "ends inside"}, {".", 0, "0 values"}, {"NN.", 2, "2 values"}, {"N(.", 2, "1 marks"}, {"NN.N", 2, "2 values"},
		{"N.N", 2, "1 bytes behind"}, {"\x80\x06N.", 0, "protocol 6"}, {"N\xff.", 1, "0xff"}, {"\x82\x01.", 0, "0x82"}, {"\x97.", 0, "0x97"},
		{"0.", 0, "underflow"}, {"2.", 0, "underflow"}, {"1.", 0, "no mark"}, {"t.", 0, "no mark"}, {"N(\x85.", 2, "underflow"}, {"N(q\x00.", 2, "underflow"},
		{"N(2.", 2, "underflow"}, {"(o.", 1, "underflow"}, {"NR.", 1, "underflow"},
		{"h\x00.", 0, "memo at 0"}, {"Nq\x01h\x00.", 3, "memo at 0"}, {"Nr\xff\xff\xff\xff.", 1, "out of range"}, {"Np-1\n.", 1, "memo index"},
		{"Np99999999999999999999\n.", 1, "memo index"}, {"g99999999999\n.", 0, "memo at"}, {"g0", 0, "ends inside"},
		{"Ix\n.", 0, "no integer"}, {"I\n.", 0, "no integer"}, {"LL\n.", 0, "no integer"}, {"Fx\n.", 0, "no number"}, {"I" + strings.Repeat("1", 5000) + "\n.", 0, "5000 digits"},
		{"S'\n.", 0, "quotes"}, {"Sab\n.", 0, "quotes"}, {"S'a\"\n.", 0, "quotes"}, {`S'\'` + "\n.", 0, "escape"}, {`S'\x4'` + "\n.", 0, "escape"}, {`S'\xzz'` + "\n.", 0, "escape"},
		{`V\u12` + "\n.", 0, "escape"}, {`V\U00110000` + "\n.", 0, "escape"}, {`V\u+123` + "\n.", 0, "escape"},
		{"U\x02a", 0, "2 bytes, but only 1"}, {"T\xff\xff\xff\xffa.", 0, "only 2"}, {"\x8e\xff\xff\xff\xff\xff\xff\xff\xffa.", 0, "only 2"},
		{"\x96\xff\xff\xff\xff\xff\xff\xff\x7fa.", 0, "only 2"}, {"\x8b\xff\xff\xff\xff.", 0, "only 1"}, {"J\x00\x00", 0, "only 2"}, {"G\x00", 0, "only 1"}, {"\x95\x00", 0, "only 1"},
		{"cm\nC", 0, "ends inside"}, {"NN\x93.", 2, "name of a class"}, {"U\x01\xffU\x01a\x93.", 6, "name of a class"},
		{"NNR.", 2, "tuple of arguments"}, {"NN\x81.", 2, "tuple of arguments"}, {"N)N\x92.", 3, "dict of arguments"}, {"NNb.", 2, "set the state"}, {"]Nb.", 2, "set the state"},
		{"NNa.", 2, "a list"}, {"}Na.", 2, "a list"}, {"NNNs.", 3, "a dict"}, {"]NNs.", 3, "a dict"}, {"(Nd.", 2, "without a value"}, {"}(Nu.", 3, "without a value"},
	} {
		v, err := Decode([]byte(c.pickle))
		var e *Error
		require.ErrorAs(t, err, &e, "%.50q gives %v", c.pickle, v)
		require.Contains(t, e.Msg, c.msg, "%.50q", c.pickle)
		require.Equal(t, c.pos, e.Pos, "%.50q: %s", c.pickle, e)
	}
}
