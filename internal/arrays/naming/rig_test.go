package naming

import (
	"context"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/serve/fusefs"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// Classes of test objects.
var (
	mappingClass = record.Class{Module: "persistent.mapping", Name: "PersistentMapping"}
	listClass    = record.Class{Module: "persistent.list", Name: "PersistentList"}
	treeClass    = record.Class{Module: "BTrees.OOBTree", Name: "OOBTree"}
	bucketClass  = record.Class{Module: "BTrees.OOBTree", Name: "OOBucket"}
	numbersClass = record.Class{Module: "BTrees.IIBTree", Name: "IIBTree"}
	appClass     = record.Class{Module: "app.model", Name: "Thing"}
	derivedClass = record.Class{Module: "app.model", Name: "Labelled"}
)

// Values of states: nil, int, string, and
type (
	ref struct {
		oid   zodb.Oid
		class record.Class
	}
	tuple []any
	dict  []any // key, value, key, value
)

func encodeValue(e *record.Encoder, v any) {
	switch v := v.(type) {
	case nil:
		e.None()
	case int:
		e.Int(int64(v))
	case string:
		e.Text(v)
	case ref:
		e.Ref(v.oid, v.class)
	case tuple:
		e.BeginTuple(len(v))
		for _, item := range v {
			encodeValue(e, item)
		}
		e.EndTuple(len(v))
	case dict:
		e.BeginDict(len(v) / 2)
		for _, item := range v {
			encodeValue(e, item)
		}
		e.EndDict(len(v) / 2)
	}
}

func pickled(class record.Class, state any) []byte {
	var e record.Encoder
	e.Reset(class)
	encodeValue(&e, state)
	return e.Record()
}

// world is a database that is put together by hand.
type world struct {
	t       testing.TB
	stor    *mem.Storage
	tree    *Tree
	records map[zodb.Oid][]byte
	last    zodb.Oid
	at      zodb.Tid // the last commit
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, stor: mem.New(), records: make(map[zodb.Oid][]byte), at: 0x100}
	w.tree = New(context.Background(), w.stor)
	t.Cleanup(func() { w.tree.Close(); w.stor.Close() })
	return w
}

// new returns a reference to an object that is not stored yet.
func (w *world) new(class record.Class) ref {
	w.last++
	return ref{w.last, class}
}

func (w *world) put(r ref, state any) ref {
	w.records[r.oid] = pickled(r.class, state)
	return r
}

func (w *world) add(class record.Class, state any) ref { return w.put(w.new(class), state) }

// items makes a mapping.
func (w *world) items(items ...any) ref { return w.add(mappingClass, dict{"data", dict(items)}) }

func (w *world) root(items ...any) { w.put(ref{0, mappingClass}, dict{"data", dict(items)}) }

func (w *world) commit() zodb.Tid {
	w.at++
	w.stor.Commit(w.at, w.records)
	w.records = make(map[zodb.Oid][]byte)
	return w.at
}

// file makes a ZBigFile without blocks.
func (w *world) file() ref {
	return w.add(record.ZBigFile, tuple{4096, w.add(record.LOBTree, nil)})
}

// array makes a ZBigArray of doubles.
func (w *world) array(shape ...int64) ref {
	return w.arrayOf("<f8", ndarray.RowMajor, shape...)
}

func (w *world) arrayOf(dtype string, order ndarray.Order, shape ...int64) ref {
	d, err := ndarray.ParseDType(dtype)
	require.NoError(w.t, err)
	r := w.new(record.ZBigArray)
	w.records[r.oid] = ndarray.EncodeArray(&ndarray.Array{DType: d, Shape: shape, Order: order, File: w.file().oid})
	return r
}

func (w *world) list(dir string) []fusefs.Item {
	w.t.Helper()
	items, err := w.tree.List(w.t.Context(), w.at, dir)
	require.NoError(w.t, err)
	for _, item := range items {
		found, err := w.tree.Find(w.t.Context(), w.at, path.Join(dir, item.Name))
		require.NoError(w.t, err)
		require.Equal(w.t, item, found)
	}
	return items
}

// all commits and returns the paths of everything, as find(1) shows them.
func (w *world) all() (paths []string) {
	w.t.Helper()
	w.commit()
	return w.below("")
}

func (w *world) below(dir string) (paths []string) {
	w.t.Helper()
	for _, item := range w.list(dir) {
		name := path.Join(dir, item.Name)
		if item.Link != "" {
			paths = append(paths, name+" -> "+item.Link)
		} else if item.Dir {
			paths = append(append(paths, name+"/"), w.below(name)...)
		}
		if item.NPY {
			paths = append(paths, name+".npy")
		} else if item.JSON {
			paths = append(paths, name+".json")
		}
	}
	return paths
}

// lines splits what is wanted.
func lines(text string) []string { return strings.Fields(strings.ReplaceAll(text, " -> ", "->")) }

func joined(paths []string) []string {
	for i := range paths {
		paths[i] = strings.ReplaceAll(paths[i], " -> ", "->")
	}
	return paths
}

// failing makes loads of an object fail.
func (w *world) failing(oid zodb.Oid, err error) {
	w.stor.OnLoad(func(_ context.Context, xid zodb.Xid) error {
		if xid.Oid == oid {
			return err
		}
		return nil
	})
}
