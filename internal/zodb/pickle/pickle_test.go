package pickle

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

func TestClassIsFoundInEveryFormOfDescription(t *testing.T) {
	for _, c := range []struct {
		desc string
		want Class
	}{
		{"cm\nC\n.", someClass},
		{"\x80\x03cm\nC\nq\x00.", someClass},
		{"(cm\nC\nNt.", someClass},
		{"(cm\nC\n(K\x01tt.", someClass},
		{"((U\x01mU\x01CtNt.", someClass},
		{"((X\x01\x00\x00\x00mX\x01\x00\x00\x00Ct(K\x01tt.", someClass},
		{"U\x08" + someOid + "Q.", Class{}},
		{"(U\x08" + someOid + "QNt.", Class{}},
	} {
		class, state, err := Record([]byte(c.desc + "K\x05."))
		require.NoError(t, err, "%q", c.desc)
		require.Equal(t, c.want, class, "%q", c.desc)
		require.Equal(t, int64(5), state)
	}
	for _, desc := range []string{"N.", "K\x01.", "(U\x01mU\x01Ct.", "((U\x01mNtNt.", "(cm\nC\nNNt.", ")."} {
		_, _, err := Record([]byte(desc + "N."))
		require.ErrorContains(t, err, "class description", "%q", desc)
	}
}

// TestStateSharesTheMemoOfTheClass refers to the class from the state, as an
// object does that refers to another one of its own class.
func TestStateSharesTheMemoOfTheClass(t *testing.T) {
	_, state, err := Record([]byte("cm\nC\nq\x00.U\x08" + someOid + "h\x00\x86Q."))
	require.NoError(t, err)
	require.Equal(t, Ref{0x102, someClass}, state)
}

func TestRecordIsTwoPicklesAndNoMore(t *testing.T) {
	for _, data := range []string{"", "cm\nC\n.", "cm\nC\n.N", "cm\nC\n.N.N.", ".z"} {
		_, _, err := Record([]byte(data))
		var e *Error
		require.ErrorAs(t, err, &e, "%q", data)
	}
}

func TestGetFindsTheLastItemOfAKey(t *testing.T) {
	d := &Dict{[]Item{{"a", int64(1)}, {Bytes("a"), int64(2)}, {Bytes("b"), nil}, {int64(5), int64(3)}, {Tuple{"c"}, "c"}}}
	for key, want := range map[string]any{"a": int64(2), "b": nil} {
		v, ok := d.Get(key)
		require.True(t, ok)
		require.Equal(t, want, v)
	}
	v, ok := d.Get("c")
	require.False(t, ok)
	require.Nil(t, v)
}

func TestTextAndIntTellWhatTheyAre(t *testing.T) {
	for _, v := range []any{nil, int64(1), Bytes("\xff"), "\xed\xa0\x80", Tuple{}} {
		_, ok := Text(v)
		require.False(t, ok, "%q", v)
	}
	for _, v := range []any{"a\u00e9", Bytes("a\u00e9")} {
		s, ok := Text(v)
		require.True(t, ok)
		require.Equal(t, "a\u00e9", s)
	}
	i, ok := Int(int64(-5))
	require.True(t, ok)
	require.Equal(t, int64(-5), i)
	for _, v := range []any{nil, true, 1.0, bigInt("99999999999999999999"), "1"} {
		_, ok := Int(v)
		require.False(t, ok, "%v", v)
	}
}

func refOids(v any) (oids []zodb.Oid) {
	for ref := range refs(v) {
		oids = append(oids, ref.Oid)
	}
	return oids
}

func TestRefsAreFoundEverywhereInOrderAndOnce(t *testing.T) {
	ref := func(oid zodb.Oid) Ref { return Ref{Oid: oid} }
	weak := Foreign{&List{[]any{"w", ref(99)}}}
	v := Tuple{
		ref(7),
		&List{[]any{ref(6), ref(7), nil, "x"}},
		&Dict{[]Item{{ref(5), Tuple{ref(4), weak}}, {"k", ref(3)}}},
		&Object{
			New: ref(8), Args: Tuple{ref(9)}, Kwargs: &Dict{[]Item{{"k", ref(10)}}},
			Items: []any{ref(11)}, Dict: []Item{{ref(12), ref(13)}}, State: Tuple{ref(14)},
		},
		ref(2),
	}
	require.Equal(t, []zodb.Oid{7, 6, 5, 4, 3, 8, 9, 10, 11, 12, 13, 14, 2}, refOids(v))
	for first := range refs(v) {
		require.Equal(t, ref(7), first)
		break
	}
}

func TestRefsOfRecursiveAndSharedValuesEnd(t *testing.T) {
	list, dict, object := &List{}, &Dict{}, &Object{}
	list.Items = []any{list, dict, object}
	dict.Items = []Item{{Tuple{list}, dict}}
	object.State = Tuple{object, Ref{Oid: 1}}
	require.Equal(t, []zodb.Oid{1}, refOids(Tuple{list, object}))

	// A tuple of 2^1000 items, were it not shared.
	v, err := Decode([]byte("U\x08" + someOid + "Q" + strings.Repeat("2\x86", 1000) + "."))
	require.NoError(t, err)
	require.Equal(t, []zodb.Oid{0x102}, refOids(v))
}

// TestNestingDoesNotMatter has deep values of every kind. A recursive decoder
// would need more stack than it gets.
func TestNestingDoesNotMatter(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	const n = 1 << 16
	inner := "U\x08" + someOid + "Q"
	for _, data := range []string{
		inner + strings.Repeat("\x85", n),
		strings.Repeat("]", n) + inner + strings.Repeat("a", n),
		strings.Repeat("(", n) + inner + strings.Repeat("t", n),
		strings.Repeat("}N", n) + inner + strings.Repeat("s", n),
		"cm\nC\nq\x000" + strings.Repeat("h\x00)\x81", n) + inner + strings.Repeat("b", n),
	} {
		v, err := Decode([]byte(data + "."))
		require.NoError(t, err, "%.20q", data)
		require.Equal(t, []zodb.Oid{0x102}, refOids(v), "%.20q", data)
	}
}
