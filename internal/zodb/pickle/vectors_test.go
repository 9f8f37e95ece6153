package pickle

import (
	"bufio"
	"encoding/hex"
	"math"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// vector is a line of testdata/vectors.txt, which Python wrote; see vectors.py.
type vector struct {
	name   string
	proto  int
	pickle []byte
}

func vectors(t testing.TB) (all []vector) {
	f, err := os.Open("testdata/vectors.txt")
	require.NoError(t, err)
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		proto, err := strconv.Atoi(fields[1])
		require.NoError(t, err)
		data, err := hex.DecodeString(fields[2])
		require.NoError(t, err)
		all = append(all, vector{fields[0], proto, data})
	}
	require.NoError(t, s.Err())
	require.NotEmpty(t, all)
	return all
}

// scalars are the values of vectors.py that are the same in all protocols.
func scalars() map[string]any {
	pow := func(base, add int64, exp uint) *big.Int {
		x := new(big.Int).Lsh(big.NewInt(base), exp)
		return x.Add(x, big.NewInt(add))
	}
	return map[string]any{
		"none": nil, "true": true, "false": false,
		"int0": int64(0), "int255": int64(255), "int256": int64(256), "int65536": int64(65536), "int-1": int64(-1),
		"int2**31": int64(1 << 31), "int-2**31": int64(math.MinInt32),
		"int2**63-1": int64(math.MaxInt64), "int-2**63": int64(math.MinInt64),
		"int2**63": pow(1, 0, 63), "int-2**63-1": pow(-1, -1, 63), "int2**2100": pow(1, 0, 2100), "int-2**2100": pow(-1, 0, 2100),
		"float1.5": 1.5, "float-0": math.Copysign(0, -1), "floatinf": math.Inf(1), "float1e300": 1e300,
		"text": "t\u00e9xt \\u0041 \U0001f600\n\x00", "textempty": "", "textlong": strings.Repeat("x", 300), "surrogate": "\xed\xa0\x80",
		"bytes": Bytes("\x00\x80\xff'\"\\\n"), "bytesempty": Bytes(""), "byteslong": Bytes(strings.Repeat("y", 300)),
		"class": Class{Module: "collections", Name: "OrderedDict"},
	}
}

func containers() map[string]any {
	var ints []any
	var items []Item
	for i := range int64(1001) {
		ints = append(ints, i)
		items = append(items, Item{i, i})
	}
	shared := &List{[]any{"s"}}
	cycle := &List{}
	cycle.Items = []any{cycle}
	dictcycle := &Dict{}
	dictcycle.Items = []Item{{"me", Tuple{dictcycle}}}
	i := func(ints ...any) []any { return ints }
	one, two, three, four := int64(1), int64(2), int64(3), int64(4)
	return map[string]any{
		"tuple0": Tuple{}, "tuple1": Tuple{one}, "tuple2": Tuple{one, two}, "tuple3": Tuple{one, two, three},
		"tuple4": Tuple{one, two, three, four},
		"list0":  &List{}, "list1": &List{i(one)}, "list2": &List{i(one, "a")}, "list1001": &List{ints},
		"dict0": &Dict{}, "dict1": &Dict{[]Item{{"a", one}}}, "dict2": &Dict{[]Item{{"a", one}, {Tuple{one, two}, nil}}},
		"dict1001": &Dict{items},
		"shared":   &List{i(shared, shared)}, "cycle": cycle, "dictcycle": dictcycle,
	}
}

// objects are the values of vectors.py that are calls, as protocol proto has
// them.
func objects(proto int) map[string]any {
	class := func(module, name string) Class { return Class{Module: module, Name: name} }
	builtins, copyreg := "builtins", "copyreg"
	if proto < 3 {
		builtins, copyreg = "__builtin__", "copy_reg"
	}
	plain, dicts, lists := class("__main__", "Plain"), class("__main__", "Dicts"), class("__main__", "Lists")
	ints := []any{int64(1), int64(2)}
	state := func(key string) any { return &Dict{[]Item{{key, int64(1)}}} }
	oid := zodb.Oid(0x102)
	values := map[string]any{
		"bytearray":  &Object{New: class(builtins, "bytearray"), Args: Tuple{Bytes("ab\xff")}},
		"ordered":    &Object{New: class("collections", "OrderedDict"), Args: Tuple{}, Dict: []Item{{"a", int64(1)}}},
		"date":       &Object{New: class("datetime", "date"), Args: Tuple{Bytes("\x07\xe8\x02\x1d")}},
		"decimal":    &Object{New: class("decimal", "Decimal"), Args: Tuple{"1.5"}},
		"complex":    &Object{New: class(builtins, "complex"), Args: Tuple{1.0, 2.0}},
		"state":      &Object{New: class(builtins, "complex"), Args: Tuple{int64(1)}, State: &Dict{[]Item{{"s", &List{[]any{int64(2)}}}}}},
		"newargs_ex": &Object{New: class("__main__", "Made"), Args: Tuple{"a"}, Kwargs: &Dict{[]Item{{"k", int64(2)}}}},
		"ref":        Ref{oid, class("collections", "OrderedDict")},
		"bareref":    Ref{Oid: oid},
		"nameref":    Ref{oid, class("mod", "Name")},
		"weakref":    Foreign{&List{[]any{"w", Tuple{Bytes("\x00\x00\x00\x00\x00\x00\x01\x02")}}}},
	}
	for _, name := range []string{"set", "set0", "frozenset"} {
		items := []any{int64(1)}
		if name == "set0" {
			items = nil
		}
		call := class(builtins, strings.TrimSuffix(name, "0"))
		values[name] = &Object{New: call, Items: items}
		if proto < 4 {
			values[name] = &Object{New: call, Args: Tuple{&List{items}}}
		}
	}
	if proto < 2 {
		call := class(copyreg, "_reconstructor")
		values["plain"] = &Object{New: call, Args: Tuple{plain, class(builtins, "object"), nil}, State: state("x")}
		values["dictsub"] = &Object{New: call, Args: Tuple{dicts, class(builtins, "dict"), &Dict{[]Item{{"k", "v"}}}}, State: state("attr")}
		values["listsub"] = &Object{New: call, Args: Tuple{lists, class(builtins, "list"), &List{ints}}}
	} else {
		values["plain"] = &Object{New: plain, Args: Tuple{}, State: state("x")}
		values["dictsub"] = &Object{New: dicts, Args: Tuple{}, Dict: []Item{{"k", "v"}}, State: state("attr")}
		values["listsub"] = &Object{New: lists, Args: Tuple{}, Items: ints}
	}
	return values
}

func TestValuesThatPythonWroteComeBackInEveryProtocol(t *testing.T) {
	tried := make(map[string]bool)
	same, inside := scalars(), containers()
	for _, v := range vectors(t) {
		want, ok := same[v.name]
		if !ok {
			want, ok = inside[v.name]
		}
		if !ok {
			want, ok = objects(v.proto)[v.name]
		}
		require.True(t, ok, "no expected value for %s", v.name)
		got, err := Decode(v.pickle)
		require.NoError(t, err, "%s of protocol %d", v.name, v.proto)
		require.Equal(t, want, got, "%s of protocol %d", v.name, v.proto)
		tried[v.name] = true
	}
	require.Len(t, tried, len(same)+len(inside)+len(objects(0)))
}

// TestSharedListIsOneList also appends to it after it was put into the memo.
func TestSharedListIsOneList(t *testing.T) {
	v, err := Decode([]byte("](]q\x00h\x00eh\x00K\x05a0."))
	require.NoError(t, err)
	items := v.(*List).Items
	require.Same(t, items[0], items[1])
	require.Equal(t, []any{int64(5)}, items[0].(*List).Items)
}
