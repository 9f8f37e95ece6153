package catalog

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// TestHugeRecordsTakeLittleMemory: what they refer to is found, whether their bulk is
// strings or many small values, and memory does not depend on their size.
func TestHugeRecordsTakeLittleMemory(t *testing.T) {
	const size = 64 << 20
	db, err := zwrite.Create(t.Context(), filepath.Join(t.TempDir(), "Data.fs"), zwrite.Options{NoSync: true, Buffer: 1 << 20})
	require.NoError(t, err)
	defer db.Close()
	txn, err := db.Begin(t.Context(), zwrite.Meta{})
	require.NoError(t, err)
	put := func(oid zodb.Oid, state func(e *record.Encoder)) { txn.Store(oid, mappingOf(state)) }
	put(0, func(e *record.Encoder) {
		e.BeginDict(2)
		e.Text("numbers")
		e.Ref(1, mappingClass)
		e.Text("strings")
		e.Ref(2, mappingClass)
		e.EndDict(2)
	})
	put(1, func(e *record.Encoder) {
		e.BeginTuple(4)
		for range size / 10 {
			e.Int(1 << 20)
		}
		e.EndTuple(4)
	})
	put(2, func(e *record.Encoder) {
		e.BeginDict(3)
		e.Text("before")
		e.Ref(3, appClass)
		e.Text("bulk")
		e.Bytes(make([]byte, size))
		e.Text("inside")
		e.Ref(4, appClass)
		e.EndDict(3)
	})
	for oid := range zodb.Oid(2) {
		txn.Store(3+oid, referrer())
	}
	_, err = txn.Commit()
	require.NoError(t, err)

	var before, after runtime.MemStats
	src := openFile(t, db.Path())
	runtime.GC()
	runtime.ReadMemStats(&before)
	var paths []string
	require.NoError(t, Walk(t.Context(), src, db.Head(), func(e *Entry) error {
		paths = append(paths, e.Path)
		return nil
	}))
	runtime.ReadMemStats(&after)
	require.Equal(t, []string{"strings/before/of"}, paths)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d MiB allocated for records of %d MiB", allocated>>20, 2*size>>20)
	require.Less(t, allocated, uint64(size)*2)
}

// referrer returns the record of an object that refers to a file which is not there.
func referrer() []byte {
	var e record.Encoder
	e.Reset(appClass)
	e.BeginDict(1)
	e.Text("of")
	e.Ref(100, record.ZBigFile)
	e.EndDict(1)
	return e.Record()
}

// mappingOf returns the record of a mapping with these items.
func mappingOf(state func(e *record.Encoder)) []byte {
	var e record.Encoder
	e.Reset(mappingClass)
	e.BeginDict(1)
	e.Text("data")
	state(&e)
	e.EndDict(1)
	return e.Record()
}
