package record

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/t/oracle"
)

// encodeValue appends a decoded value.
func encodeValue(e *Encoder, v Value) error {
	switch v.Kind() {
	case pickle.KindNone:
		e.None()
	case pickle.KindInt:
		i, _ := v.Int()
		e.Int(i)
	case pickle.KindBytes:
		b, _ := v.Bytes()
		e.Bytes(b)
	case pickle.KindText:
		s, _ := v.Text()
		e.Text(string(s))
	case pickle.KindClass:
		e.Class(v.Class())
	case pickle.KindRef:
		oid, _ := v.Ref()
		e.Ref(oid, v.RefClass())
	case pickle.KindTuple:
		e.BeginTuple(v.Len())
		for i := range v.Len() {
			if err := encodeValue(e, v.At(i)); err != nil {
				return err
			}
		}
		e.EndTuple(v.Len())
	default:
		return fmt.Errorf("cannot encode %s", v)
	}
	return nil
}

func TestEncoderWritesWhatPythonWrites(t *testing.T) {
	count := make(map[string]int)
	want := []string{"ZBigFile", "ZBlk0", "ZBlk1", "ZData", "LOBTree", "LOBucket", "IOBTree"}
	for _, name := range oracle.All(t) {
		if strings.HasPrefix(name, "py2") {
			continue
		}
		if name == "py3_pickle3" {
			want = append(want, "IOBucket") // the other databases have none
		}
		db := oracle.Load(t, name)
		for _, rec := range db.Records(t) {
			class, err := ClassOf(rec.Data)
			if err != nil {
				t.Fatal(err)
			}
			if class.Module == "persistent.mapping" || class.Name == "ZBigArray" {
				continue // states are dicts
			}
			var e Encoder
			err = Decode(rec.Data, func(class Class, state Value) error {
				e.Reset(class)
				return encodeValue(&e, state)
			})
			if err != nil {
				t.Fatalf("%s: %s @%s: %s", name, rec.Oid, rec.Tid, err)
			}
			if got := e.Record(); !bytes.Equal(got, rec.Data) {
				t.Fatalf("%s: %s @%s of %s:\ngot  %x\nwant %x", name, rec.Oid, rec.Tid, class, got, rec.Data)
			}
			count[class.Name]++
		}
	}
	for _, name := range want {
		if count[name] == 0 {
			t.Errorf("no record of a %s was tried", name)
		}
	}
	t.Logf("records: %v", count)
}

func TestEncoderWritesRootMapping(t *testing.T) {
	root := Class{Module: "persistent.mapping", Name: "PersistentMapping"}
	const head = "\x80\x03cpersistent.mapping\nPersistentMapping\nq\x00.\x80\x03}q\x01X\x04\x00\x00\x00dataq\x02}q\x03"
	for n, want := range []string{
		head + "s.",
		head + "X\x01\x00\x00\x000q\x04K\x00ss.",
		head + "(X\x01\x00\x00\x000q\x04K\x00X\x01\x00\x00\x001q\x05K\x01us.",
	} {
		var e Encoder
		e.Reset(root)
		e.BeginDict(1)
		e.Text("data")
		e.BeginDict(n)
		for i := range n {
			e.Text(fmt.Sprint(i))
			e.Int(int64(i))
		}
		e.EndDict(n)
		e.EndDict(1)
		if got := string(e.Record()); got != want {
			t.Errorf("%d items:\ngot  %q\nwant %q", n, got, want)
		}
	}
}

func TestIntegersComeBackAndAreAsShortAsInPython(t *testing.T) {
	short := map[int64]string{
		0: "K\x00", 255: "K\xff", 256: "M\x00\x01", 65535: "M\xff\xff", 65536: "J\x00\x00\x01\x00",
		-1: "J\xff\xff\xff\xff", math.MaxInt32: "J\xff\xff\xff\x7f", math.MinInt32: "J\x00\x00\x00\x80",
		math.MaxInt32 + 1: "\x8a\x05\x00\x00\x00\x80\x00", math.MinInt32 - 1: "\x8a\x05\xff\xff\xff\x7f\xff",
		1<<39 - 1: "\x8a\x05\xff\xff\xff\xff\x7f", 1 << 39: "\x8a\x06\x00\x00\x00\x00\x80\x00",
		math.MaxInt64: "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", math.MinInt64: "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80",
	}
	for x, want := range short {
		var e Encoder
		e.Int(x)
		if string(e.buf) != want {
			t.Errorf("%d: got %q, want %q", x, e.buf, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Int64().Draw(t, "x")
		var e Encoder
		e.Reset(ZBlk0)
		e.Int(x)
		err := Decode(e.Record(), func(_ Class, state Value) error {
			if got, ok := state.Int(); !ok || got != x {
				t.Fatalf("got %s, want %d", state, x)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
