package record

import (
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"

	ogorek "github.com/kisielk/og-rek"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/t/oracle"
)

// same compares what the machine decoded with what ogorek did. budget bounds
// the values to compare, for tuples that share items.
func same(v Value, obj any, budget *int) error {
	if *budget--; *budget < 0 {
		return nil
	}
	ok := false
	switch x := obj.(type) {
	case ogorek.None:
		ok = v.Kind() == KindNone
	case int64:
		i, isInt := v.Int()
		ok = isInt && i == x
	case *big.Int:
		i, isInt := v.Int()
		ok = isInt && x.IsInt64() && i == x.Int64()
	case ogorek.Bytes:
		b, isBytes := v.Bytes()
		ok = isBytes && string(b) == string(x)
	case ogorek.ByteString:
		b, isBytes := v.Bytes()
		ok = isBytes && string(b) == string(x)
	case string:
		s, isText := v.Text()
		ok = isText && string(s) == x
	case ogorek.Class:
		ok = v.Kind() == KindClass && v.Class() == Class{x.Module, x.Name}
	case ogorek.Ref:
		pid, isTuple := x.Pid.(ogorek.Tuple)
		oid, isRef := v.Ref()
		if isTuple && len(pid) == 2 && isRef {
			want, isOid := oidOf(pid[0])
			class, isClass := pid[1].(ogorek.Class)
			ok = isOid && isClass && want == oid && v.RefClass() == Class{class.Module, class.Name}
		}
	case ogorek.Tuple:
		ok = v.Kind() == KindTuple && v.Len() == len(x)
		for i := 0; ok && i < len(x); i++ {
			if err := same(v.At(i), x[i], budget); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	}
	if !ok {
		return fmt.Errorf("machine has %s, ogorek has %#v", v, obj)
	}
	return nil
}

// checkMachine decodes data in a fresh machine. What it accepts must be the same
// in ogorek, and it may allocate four times the record plus a constant.
func checkMachine(t *testing.T, data []byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m := &machine{vals: make([]val, minVals), memo: make([]val, minMemo)}
	m.begin(data)
	var values [2]Value
	var err error
	for i := range values {
		if err == nil {
			values[i], err = m.pickle()
		}
	}
	runtime.ReadMemStats(&after)
	if got, max := after.TotalAlloc-before.TotalAlloc, uint64(4*len(data)+64<<10); got > max {
		t.Fatalf("%d bytes allocated for a record of %d bytes", got, len(data))
	}
	if err != nil || m.pos != len(data) {
		return
	}
	objs, err := decodePickles(data, 2)
	var unknown ogorek.OpcodeError
	if errors.As(err, &unknown) && (unknown.Key == opLong4 || unknown.Key == opBinBytes8) {
		return // the machine knows more
	}
	if err != nil {
		t.Fatalf("the machine accepts what ogorek does not: %s", err)
	}
	budget := 10000
	for i, v := range values {
		if err := same(v, objs[i], &budget); err != nil {
			t.Fatalf("pickle #%d: %s", i, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range shapes() {
		f.Add([]byte(s.data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkMachine(t, data)
		_ = Decode(data, func(class Class, state Value) error {
			_ = class.String()
			_ = state.String()
			for i := range min(state.Len(), 100) {
				_ = state.At(i).String()
				_, _ = state.At(i).Bytes()
			}
			return nil
		})
		_, _ = ClassOf(data)
	})
}

func TestMachineAgreesWithOgorekOnAllRecords(t *testing.T) {
	for _, name := range oracle.All(t) {
		n := 0
		for i, rec := range oracle.Load(t, name).Records(t) {
			if len(rec.Data) > 1<<16 || name == "bigtree" && i%20 != 0 {
				continue // ogorek takes long
			}
			checkMachine(t, rec.Data)
			n++
		}
		t.Logf("%s: %d records", name, n)
	}
}

func TestRecordsThatCannotBeRightGiveAnError(t *testing.T) {
	const head = "\x80\x03" + blk + "ZBlk0\nq\x00."
	for name, data := range map[string]string{
		"empty":                   "",
		"no state":                head,
		"state without end":       head + "\x80\x03C\x02hi",
		"bytes behind the state":  head + "\x80\x03C\x02hi.x",
		"bytes behind, ogorek":    head + "\x80\x03].x",
		"string beyond the end":   head + "\x80\x03B\xff\xff\xff\x00hi.",
		"negative string":         head + "\x80\x03T\xff\xff\xff\xffhi.",
		"string of 2^64-1 bytes":  head + "\x80\x03\x8e\xff\xff\xff\xff\xff\xff\xff\xffhi.",
		"long beyond the end":     head + "\x80\x03\x8b\xff\xff\xff\xff.",
		"argument cut off":        head + "\x80\x03J\x00",
		"line cut off":            head + "\x80\x03I12",
		"nothing on the stack":    head + "\x80\x03.",
		"two on the stack":        head + "\x80\x03NN.",
		"mark on the stack":       head + "\x80\x03(N.",
		"no mark":                 head + "\x80\x03Nt.",
		"tuple through a mark":    head + "\x80\x03N(N\x86.",
		"put of nothing":          head + "\x80\x03q\x01.",
		"get of nothing":          head + "\x80\x03h\x07.",
		"get far away":            head + "\x80\x03j\xff\xff\xff\xff.",
		"protocol 6":              head + "\x80\x06N.",
		"reference to nothing":    head + "\x80\x03Q.",
		"unknown opcode":          head + "\x80\x03\xff.",
		"build":                   head + "\x80\x03)\x81}b.",
		"pop_mark":                head + "\x80\x03(1N.",
		"stack of class pickle":   "Ncm\nC\n.].",
		"dict with odd items":     head + "\x80\x03(Nd.",
		"class is a number":       "K\x01.N.",
		"class is a 3-tuple":      "cm\nC\nNN\x87.N.",
		"class of odd names":      "K\x01K\x02\x86N\x86.N.",
		"long of 200 bytes":       head + "\x80\x03]\x8a\xc8" + strings.Repeat("\x01", 200) + "\x86.",
		"number of 2000 digits":   head + "\x80\x03I" + strings.Repeat("1", 2000) + "\n.",
		"too many marks":          head + "\x80\x03" + strings.Repeat("(", 2000) + strings.Repeat("t", 2000) + ".",
		"too many opcodes":        head + "\x80\x03]" + strings.Repeat("]0", maxOps) + ".",
		"too big for ogorek":      head + "\x80\x03]" + strings.Repeat("0", maxForeign) + ".",
		"cut inside class pickle": "\x80\x03cm",
	} {
		var bad *Error
		err := Decode([]byte(data), func(class Class, state Value) error {
			t.Errorf("%s: decoded as %s %s", name, class, state)
			return nil
		})
		if !errors.As(err, &bad) {
			t.Errorf("%s: error %v", name, err)
		} else if len(bad.Error()) > 500 {
			t.Errorf("%s: error of %d bytes", name, len(bad.Error()))
		}
	}
}

func TestErrorTellsClassAndPosition(t *testing.T) {
	data := "\x80\x03" + blk + "ZBlk0\nq\x00.\x80\x03h\x07."
	err := Decode([]byte(data), func(Class, Value) error { return nil })
	want := "at byte 41 of the record of a wendelin.bigfile.file_zodb.ZBlk0: nothing in memo at 7"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestErrorOfCallbackComesBack(t *testing.T) {
	mine := errors.New("mine")
	for _, s := range shapes() {
		if err := Decode([]byte(s.data), func(Class, Value) error { return mine }); err != mine {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// bigBucket returns a bucket with n entries as Python 3 writes it.
func bigBucket(n int) []byte {
	var e Encoder
	e.Reset(LOBucket)
	e.BeginTuple(1)
	e.BeginTuple(2 * n)
	for i := range n {
		e.Int(int64(i))
		e.Ref(1000+zodb.Oid(i), ZBlk0)
	}
	e.EndTuple(2 * n)
	e.EndTuple(1)
	return e.Record()
}

func TestLargeAndDenseRecordsDecode(t *testing.T) {
	for _, n := range []int{0, 1, 2, 60, 500, 5000, 100_000} {
		err := Decode(bigBucket(n), func(_ Class, state Value) error {
			items := state.At(0)
			if items.Len() != 2*n {
				return fmt.Errorf("%d items", items.Len())
			}
			for i := range n {
				key, _ := items.At(2 * i).Int()
				oid, ok := items.At(2*i + 1).Ref()
				if key != int64(i) || !ok || oid != 1000+zodb.Oid(i) {
					return fmt.Errorf("item %d: %s", i, items.At(2*i+1))
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("%d: %s", n, err)
		}
	}
}

func BenchmarkDecodeBucket60(b *testing.B) {
	var e Encoder
	e.Reset(LOBucket)
	e.BeginTuple(1)
	e.BeginTuple(120)
	for i := range 60 {
		e.Int(int64(1000 + 3*i))
		e.Ref(zodb.Oid(5000+i), ZBlk0)
	}
	e.EndTuple(120)
	e.EndTuple(1)
	benchmarkDecode(b, e.Record())
}

func BenchmarkDecodeZBlk0(b *testing.B) {
	var e Encoder
	e.Reset(ZBlk0)
	e.Bytes(make([]byte, 2<<20))
	benchmarkDecode(b, e.Record())
}

func benchmarkDecode(b *testing.B, data []byte) {
	b.ReportAllocs()
	for b.Loop() {
		err := Decode(data, func(Class, Value) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
}
