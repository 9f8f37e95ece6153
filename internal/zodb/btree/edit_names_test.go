package btree

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wcfs/wcfs/internal/zodb/record"
)

// TestNamesAreWhatWasSet sets and removes random names, and compares the tree in memory
// and as it is stored with a map.
func TestNamesAreWhatWasSet(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	txn := newEditTxn()
	e := NewNames(txn)
	e.Flush()
	want := make(map[string]Ref)
	for i := range 4000 {
		key := fmt.Sprintf("ü%d", rnd.IntN(2000))
		grow := i < 2500
		if rnd.IntN(4) != 0 == grow {
			want[key] = Ref{Oid: txn.New(), Class: record.ZBigFile}
			if err := e.Set(key, want[key]); err != nil {
				t.Fatal(err)
			}
		} else {
			_, had := want[key]
			delete(want, key)
			if ok, err := e.Delete(key); err != nil || ok != had {
				t.Fatal(ok, err)
			}
		}
		if i%100 != 0 {
			continue
		}
		e.Flush()
		var err error
		if e, err = EditNames(txn, e.Oid()); err != nil {
			t.Fatal(err)
		}
		if err := e.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
		got, last := make(map[string]Ref), ""
		err = e.Items(func(key string, value Ref) error {
			if key <= last {
				return fmt.Errorf("%q after %q", key, last)
			}
			got[key], last = value, key
			return nil
		})
		if err != nil || !maps.Equal(got, want) {
			t.Fatalf("%v: got %v; want %v", err, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
	if ref, ok, err := e.Get("nothing"); ok || err != nil {
		t.Fatal(ref, err)
	}
}

// TestForeignNamesAreRefused: what cannot be written back is no damage.
func TestForeignNamesAreRefused(t *testing.T) {
	for name, put := range map[string]func(e *record.Encoder){
		"a number for a key":   func(e *record.Encoder) { e.Int(1); e.Ref(5, record.ZBigFile) },
		"a number for a value": func(e *record.Encoder) { e.Text("a"); e.Int(1) },
	} {
		txn := newEditTxn()
		var enc record.Encoder
		enc.Reset(ClassNames)
		for range 3 {
			enc.BeginTuple(1)
		}
		enc.BeginTuple(2)
		put(&enc)
		enc.EndTuple(2)
		for range 3 {
			enc.EndTuple(1)
		}
		txn.Store(7, enc.Record())
		_, err := EditNames(txn, 7)
		var foreign *ForeignError
		if !errors.As(err, &foreign) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
