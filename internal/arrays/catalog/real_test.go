package catalog

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/t/oracle"
)

// openFile opens a database of ZODB.
func openFile(t testing.TB, path string) storage.Storage {
	t.Helper()
	url, err := storage.ParseURL("file://" + path)
	require.NoError(t, err)
	stor, _, err := fs1.Open(t.Context(), url, storage.Options{Warnf: t.Logf})
	require.NoError(t, err)
	t.Cleanup(func() { stor.Close() })
	return stor
}

// TestDatabasesOfPythonAreListedAtEveryView: all files with their sizes, blocks
// and last changes are there, also those that only an oid names.
func TestDatabasesOfPythonAreListedAtEveryView(t *testing.T) {
	for _, name := range oracle.All(t) {
		t.Run(name, func(t *testing.T) {
			db := oracle.Load(t, name)
			stor := openFile(t, db.Path)
			for i, txn := range db.Txns {
				if i > 20 && i%7 != 0 && i != len(db.Txns)-1 {
					continue
				}
				byPath := make(map[string]*Entry)
				require.NoError(t, Walk(t.Context(), stor, txn.Tid, func(e *Entry) error {
					byPath[e.Path] = e
					return nil
				}))
				for fname, state := range txn.Files {
					file := db.Files[fname]
					e := byPath[fname]
					if e == nil { // nothing leads to it
						var err error
						e, err = Find(t.Context(), stor, txn.Tid, file.Oid.String())
						require.NoError(t, err)
						require.NoError(t, e.Measure(t.Context(), stor, txn.Tid))
					}
					require.NoError(t, e.Err)
					require.NoError(t, e.ArrayErr)
					require.Equal(t, file.Oid, e.File, fname)
					require.Equal(t, file.BlkSize, e.BlkSize, fname)
					require.Equal(t, state.Size, e.Size, fname)
					require.LessOrEqual(t, e.Rev, txn.Tid)
					if state.Blk != nil {
						require.GreaterOrEqual(t, e.Blocks, int64(len(state.Blk)), fname)
					}
				}
			}
		})
	}
}

func TestBasicIsWhatItIs(t *testing.T) {
	db := oracle.Load(t, "basic")
	stor := openFile(t, db.Path)
	var paths []string
	revs := make(map[zodb.Tid]bool)
	require.NoError(t, Walk(t.Context(), stor, db.Head, func(e *Entry) error {
		paths = append(paths, e.Path)
		require.Equal(t, e.Path == "arr", e.Array != nil)
		require.Equal(t, lastChange(t, db, stor, e.Oid), e.Rev, e.Path)
		revs[e.Rev] = true
		return nil
	}))
	require.Equal(t, []string{"arr", "auto", "mixed", "zblk0", "zblk1"}, paths)
	require.Greater(t, len(revs), 1)
}

// lastChange returns the last transaction that changed anything below an object.
func lastChange(t *testing.T, db *oracle.DB, stor storage.Storage, oid zodb.Oid) (tid zodb.Tid) {
	below := map[zodb.Oid]bool{}
	var add func(oid zodb.Oid)
	add = func(oid zodb.Oid) {
		if below[oid] {
			return
		}
		below[oid] = true
		buf, _, err := stor.Load(t.Context(), zodb.Xid{At: db.Head, Oid: oid})
		require.NoError(t, err)
		defer buf.Release()
		_, state, err := pickle.Record(buf.Data)
		require.NoError(t, err)
		for _, ref := range refs(state) {
			add(ref)
		}
	}
	add(oid)
	for _, txn := range db.Txns {
		if slices.ContainsFunc(txn.Oids, func(oid zodb.Oid) bool { return below[oid] }) {
			tid = txn.Tid
		}
	}
	return tid
}

// refs returns the objects that a value of these databases refers to.
func refs(v any) (oids []zodb.Oid) {
	switch x := v.(type) {
	case pickle.Ref:
		return []zodb.Oid{x.Oid}
	case pickle.Tuple:
		for _, item := range x {
			oids = append(oids, refs(item)...)
		}
	case *pickle.List:
		return refs(pickle.Tuple(x.Items))
	case *pickle.Dict:
		for _, item := range x.Items {
			oids = append(oids, refs(item.Value)...)
		}
	case *pickle.Object:
		return refs(pickle.Tuple{x.Args, x.State})
	}
	return oids
}

// BenchmarkWalk measures how long a big block table takes.
func BenchmarkWalk(b *testing.B) {
	path, err := filepath.Abs("../../../t/testdata/bigtree.fs")
	require.NoError(b, err)
	stor := openFile(b, path)
	for b.Loop() {
		var blocks int64
		err := Walk(context.Background(), stor, stor.Head(), func(e *Entry) error {
			blocks += e.Blocks
			return nil
		})
		require.NoError(b, err)
		b.ReportMetric(float64(blocks), "blocks")
	}
}
