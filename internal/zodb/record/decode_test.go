package record

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

func FuzzDecode(f *testing.F) {
	for _, s := range shapes() {
		f.Add([]byte(s.data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		wantClass, _, wantErr := pickle.Record(data)
		err := Decode(data, func(class Class, state Value) error {
			require.True(t, wantErr != nil || class == wantClass)
			_ = class.String()
			_ = state.String()
			for i := range min(state.Len(), 100) {
				_ = state.At(i).String()
				_, _ = state.At(i).Bytes()
			}
			return nil
		})
		class, classErr := ClassOf(data)
		for _, err := range []error{err, classErr} {
			if err != nil {
				require.Error(t, wantErr)
				require.IsType(t, &Error{}, err)
			}
		}
		require.True(t, wantErr != nil || class == wantClass)
	})
}

func TestRecordsThatCannotBeRightGiveAnError(t *testing.T) {
	const head = "\x80\x03" + blk + "ZBlk0\nq\x00."
	for name, data := range map[string]string{
		"empty":                   "",
		"no state":                head,
		"state without end":       head + "\x80\x03C\x02hi",
		"bytes behind the state":  head + "\x80\x03C\x02hi.x",
		"bytes behind a list":     head + "\x80\x03].x",
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
		"build of nothing":        head + "\x80\x03)\x81}b.",
		"pop_mark without a mark": head + "\x80\x031N.",
		"stack of class pickle":   "Ncm\nC\n.].",
		"dict with odd items":     head + "\x80\x03(Nd.",
		"class is a number":       "K\x01.N.",
		"class is a 3-tuple":      "cm\nC\nNN\x87.N.",
		"class of odd names":      "K\x01K\x02\x86N\x86.N.",
		"number of 5000 digits":   head + "\x80\x03I" + strings.Repeat("1", 5000) + "\n.",
		"too many marks":          head + "\x80\x03" + strings.Repeat("(", 1<<23) + strings.Repeat("t", 1<<23) + ".",
		"too many lists":          head + "\x80\x03]" + strings.Repeat("]0", 1<<21) + ".",
		"too many values":         head + "\x80\x03" + strings.Repeat("N", 1<<23) + "\x85.",
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
