package pickle

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sameValue compares a value that was recognised with the same that was kept. It looks
// at no more than budget values, since tuples may be shared.
func sameValue(v Value, got any, budget *int) error {
	if *budget--; *budget < 0 {
		return nil
	}
	var want any
	switch v.Kind() {
	case KindInt:
		want, _ = v.Int()
	case KindBytes:
		b, _ := v.Bytes()
		want = Bytes(b)
	case KindText:
		b, _ := v.Text()
		want = string(b)
	case KindClass:
		want = v.Class()
	case KindRef:
		oid, _ := v.Ref()
		want = Ref{oid, v.RefClass()}
	case KindTuple:
		t, ok := got.(Tuple)
		if !ok || len(t) != v.Len() {
			return fmt.Errorf("got %T; want tuple of %d items", got, v.Len())
		}
		for i := range t {
			if err := sameValue(v.At(i), t[i], budget); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return nil
	case KindOther:
		if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", v.m.any(v.v)) {
			return fmt.Errorf("got %T; want %s", got, v)
		}
		return nil
	}
	if got != want {
		return fmt.Errorf("got %#v; want %#v", got, want)
	}
	return nil
}

// scan runs both pickles of a record in a machine that has nothing from before.
func scan(m *Machine, data []byte) (class Class, state Value, err error) {
	m.begin(data, []Class{{"m", "D"}, someClass})
	if class, err = m.Class(); err == nil {
		state, err = m.Last()
	}
	return class, state, err
}

// checkScan compares what a record is recognised as with what is kept of it. Both are
// the same, or the same error, but for memory. Recognising takes four times the record,
// and what is charged.
func checkScan(t *testing.T, data []byte) {
	wantClass, want, wantErr := Record(data)
	m := &Machine{things: make([]any, 1)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m.vals, m.memo = make([]val, minVals), make([]val, minMemo)
	class, state, err := scan(m, data)
	runtime.ReadMemStats(&after)
	charged := memoryFactor*len(data) + memoryFree - m.free
	if got, max := after.TotalAlloc-before.TotalAlloc, uint64(4*len(data)+64<<10+3*charged); got > max {
		t.Fatalf("%d bytes allocated for a record of %d bytes, with %d charged", got, len(data), charged)
	}
	if wantErr != nil {
		if !strings.Contains(wantErr.Error(), "values take more than") {
			require.Equal(t, wantErr, err)
		}
		return
	}
	require.NoError(t, err)
	budget := 10000
	require.Equal(t, wantClass, class)
	require.NoError(t, sameValue(state, want, &budget))
	for range refs(want) {
	}
}

// FuzzRecord decodes anything.
func FuzzRecord(f *testing.F) {
	for _, v := range vectors(f) {
		if len(v.pickle) < 500 {
			f.Add(append([]byte("cm\nC\nq\x00."), v.pickle...))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkScan(t, data) })
}
