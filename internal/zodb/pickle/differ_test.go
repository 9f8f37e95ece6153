package pickle

import (
	"bytes"
	"fmt"
	"maps"
	"math/big"
	"testing"

	ogorek "github.com/kisielk/og-rek"
	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/t/oracle"
)

// decodeOgorek decodes the class description and the state of a record by
// another decoder.
func decodeOgorek(data []byte) (desc, state any, err error) {
	d := ogorek.NewDecoderWithConfig(bytes.NewReader(data), &ogorek.DecoderConfig{StrictUnicode: true})
	if desc, err = d.Decode(); err == nil {
		state, err = d.Decode()
	}
	return desc, state, err
}

// fromOgorek makes of a value what this package would make.
func fromOgorek(obj any) any {
	switch x := obj.(type) {
	case ogorek.None:
		return nil
	case *big.Int:
		if x.IsInt64() {
			return x.Int64()
		}
	case ogorek.Bytes:
		return Bytes(x)
	case ogorek.ByteString:
		return Bytes(x)
	case ogorek.Class:
		return record.Class{Module: x.Module, Name: x.Name}
	case ogorek.Tuple:
		t := make(Tuple, len(x))
		for i := range x {
			t[i] = fromOgorek(x[i])
		}
		return t
	case []any:
		return &List{fromOgorek(ogorek.Tuple(x)).(Tuple)}
	case map[any]any:
		m := make(map[any]any)
		for key, value := range x {
			m[fromOgorek(key)] = fromOgorek(value)
		}
		return m
	case ogorek.Call:
		return &Object{New: fromOgorek(x.Callable), Args: fromOgorek(x.Args).(Tuple)}
	case ogorek.Ref:
		pid := fromOgorek(x.Pid).(Tuple)
		oid, _ := oidOf(pid[0])
		return Ref{oid, pid[1].(record.Class)}
	}
	return obj
}

// mapped replaces the dicts of a value by maps, which know no order.
func mapped(v any) any {
	switch x := v.(type) {
	case Tuple:
		t := make(Tuple, len(x))
		for i := range x {
			t[i] = mapped(x[i])
		}
		return t
	case *Dict:
		m := make(map[any]any)
		for _, item := range x.Items {
			m[item.Key] = mapped(item.Value)
		}
		return m
	}
	return v
}

// TestRealRecordsAreDecodedAsOgorekDoes leaves out records of arrays, which
// ogórek does not understand.
func TestRealRecordsAreDecodedAsOgorekDoes(t *testing.T) {
	same, alone := make(map[string]int), make(map[string]int)
	for _, name := range oracle.All(t) {
		for _, rec := range oracle.Load(t, name).Records(t) {
			class, state, err := Record(rec.Data)
			require.NoError(t, err, "%s: %s @%s", name, rec.Oid, rec.Tid)
			desc, want, err := decodeOgorek(rec.Data)
			if err != nil {
				alone[class.Name]++
				continue
			}
			same[class.Name]++
			require.Equal(t, fromOgorek(desc), class, "%s: %s @%s", name, rec.Oid, rec.Tid)
			require.Equal(t, fromOgorek(want), mapped(state), "%s: %s @%s", name, rec.Oid, rec.Tid)
		}
	}
	t.Logf("same %v, alone %v", same, alone)
	require.Equal(t, []string{"ZBigArray"}, keys(alone))
	for _, class := range []string{"PersistentMapping", "ZBigFile", "ZBlk0", "ZBlk1", "ZData", "LOBTree", "LOBucket", "IOBTree"} {
		require.NotZero(t, same[class], class)
	}
}

func keys(counts map[string]int) (names []string) {
	for name := range maps.Keys(counts) {
		names = append(names, name)
	}
	return names
}

// sameRecord compares a value with what package record made of the same record.
// It looks at no more than budget values, since tuples may be shared.
func sameRecord(v record.Value, got any, budget *int) error {
	if *budget--; *budget < 0 {
		return nil
	}
	var want any
	switch v.Kind() {
	case record.KindInt:
		want, _ = v.Int()
	case record.KindBytes:
		b, _ := v.Bytes()
		want = Bytes(b)
	case record.KindText:
		b, _ := v.Text()
		want = string(b)
	case record.KindClass:
		want = v.Class()
	case record.KindRef:
		oid, _ := v.Ref()
		ref, ok := got.(Ref)
		if !ok || ref.Oid != oid || ref.Class != v.RefClass() && v.RefClass() != (record.Class{}) {
			return fmt.Errorf("got %#v; want reference to %s of %s", got, oid, v.RefClass())
		}
		return nil
	case record.KindTuple:
		t, ok := got.(Tuple)
		if !ok || len(t) != v.Len() {
			return fmt.Errorf("got %T; want tuple of %d items", got, v.Len())
		}
		for i := range t {
			if err := sameRecord(v.At(i), t[i], budget); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return nil
	case record.KindOther:
		return nil
	}
	if got != want {
		return fmt.Errorf("got %#v; want %#v", got, want)
	}
	return nil
}

// FuzzRecord decodes anything. What package record understands as well must be
// the same. It may be refused: ogórek takes any line as the index of a memo.
func FuzzRecord(f *testing.F) {
	for _, v := range vectors(f) {
		if len(v.pickle) < 500 {
			f.Add(append([]byte("cm\nC\nq\x00."), v.pickle...))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		class, state, err := Record(data)
		if err != nil {
			require.IsType(t, &Error{}, err)
			return
		}
		for range Refs(state) {
		}
		_ = record.Decode(data, func(wantClass record.Class, want record.Value) error {
			budget := 10000
			require.Equal(t, wantClass, class)
			require.NoError(t, sameRecord(want, state, &budget))
			return nil
		})
	})
}
