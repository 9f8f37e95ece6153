package catalog

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func TestEmptyDatabasesHaveNothing(t *testing.T) {
	w := newWorld(t)
	require.Empty(t, w.entries(0))
	w.root(nil)
	require.Empty(t, w.paths())
}

// way is how the object "x" may refer to others.
type way struct {
	state func(w *world) any
	class record.Class
	want  []string
}

// waysOfMappings are those of mappings.
func waysOfMappings() map[string]way {
	return map[string]way{
		"PersistentMapping": {class: mappingClass, want: []string{"x/a", "x/b"},
			state: func(w *world) any { return pyMap{"data": pyMap{"b": w.file(), "a": w.file(), "n": 1}} }},
		"of Python 2": {class: record.Class{Module: "Persistence.PersistentMapping", Name: "PersistentMapping"}, want: []string{"x/a"},
			state: func(w *world) any { return pyDict{pyRaw("U\x0a_container"), pyDict{pyRaw("U\x01a"), w.file()}} }},
		"attributes of a mapping": {class: mappingClass, want: []string{"x/a", "x/owner"},
			state: func(w *world) any { return pyMap{"data": pyMap{"a": w.file()}, "owner": w.file()} }},
		"a mapping with its items in a tree": {class: mappingClass, want: []string{"x/a", "x/b", "x/owner"},
			state: func(w *world) any {
				bucket := pyTuple{pyTuple{"b", w.file()}}
				first := w.add(bucketClass, pyTuple{pyTuple{"a", w.file()}, w.add(bucketClass, bucket)})
				last := pyTuple{pyTuple{first}, first}
				return pyMap{"data": w.add(treeClass, last), "owner": w.file()}
			}},
		"last of equal keys": {class: mappingClass, want: []string{"x/a"},
			state: func(w *world) any { return pyMap{"data": pyDict{"a", w.array(1, w.file()), "a", w.file()}} }},
		"overwritten by None": {class: mappingClass,
			state: func(w *world) any { return pyMap{"data": pyDict{"a", w.file(), "a", nil}} }},
	}
}

// waysOfObjects are those of lists, attributes and values in them.
func waysOfObjects() map[string]way {
	return map[string]way{
		"PersistentList": {class: listClass, want: []string{"x/1", "x/3"},
			state: func(w *world) any { return pyMap{"data": pyList{"no", w.file(), nil, w.file()}} }},
		"attributes": {class: appClass, want: []string{"x/attr"},
			state: func(w *world) any { return pyMap{"attr": w.file(), "title": "x"} }},
		"slots": {class: appClass, want: []string{"x/attr", "x/slot"},
			state: func(w *world) any { return pyTuple{pyMap{"attr": w.file()}, pyMap{"slot": w.file()}} }},
		"no slots": {class: appClass, want: []string{"x/attr"},
			state: func(w *world) any { return pyTuple{pyMap{"attr": w.file()}, nil} }},
		"slots only": {class: appClass, want: []string{"x/slot"},
			state: func(w *world) any { return pyTuple{nil, pyMap{"slot": w.file()}} }},
		"deep inside": {class: appClass, want: []string{"x/conf/7/1/k"},
			state: func(w *world) any {
				return pyMap{"conf": pyDict{7, pyTuple{nil, pyList{}, 1}, 7, pyTuple{nil, pyMap{"k": w.file()}}}}
			}},
		"plain object": {class: appClass, want: []string{"x/helper/of"},
			state: func(w *world) any { return pyMap{"helper": pyNew{appClass, pyMap{"of": w.file()}}} }},
		"a key": {class: appClass, want: []string{"x/weights/(" + zodb.Oid(2).String() + ", 3)/0"},
			state: func(w *world) any { return pyMap{"weights": pyDict{pyTuple{w.file(), 3}, 1}} }},
		"the state": {class: appClass, want: []string{"x/0"},
			state: func(w *world) any { return w.file() }},
		"a tuple": {class: appClass, want: []string{"x/1"},
			state: func(w *world) any { return pyTuple{1, w.file(), 3} }},
		"class not told": {class: appClass, want: []string{"x/attr"},
			state: func(w *world) any { return pyMap{"attr": pyRef{oid: w.file().oid}} }},
		"weak": {class: appClass,
			state: func(w *world) any {
				return pyMap{"attr": pyRaw("(X\x01\x00\x00\x00w(" + string(appendOid(nil, w.file().oid)) + "ttQ")}
			}},
	}
}

// waysOfTrees are those of BTrees, and of classes that nobody knows.
func waysOfTrees() map[string]way {
	return map[string]way{
		"OOBTree, empty":   {class: treeClass, state: func(w *world) any { return nil }},
		"OOBTree, 1 level": {class: treeClass, want: []string{"x/k"}, state: func(w *world) any { return pyTuple{pyTuple{pyTuple{pyTuple{"k", w.file()}}}} }},
		"OOBTree": {class: treeClass, want: []string{"x/a", "x/b", "x/c", "x/d"},
			state: func(w *world) any {
				last := w.add(bucketClass, pyTuple{pyTuple{"d", w.file()}})
				middle := w.add(bucketClass, pyTuple{pyTuple{"c", w.file()}, last})
				first := w.add(bucketClass, pyTuple{pyTuple{"a", w.file(), "b", w.file()}, middle})
				return pyTuple{pyTuple{
					w.add(treeClass, pyTuple{pyTuple{first}, first}), "c",
					w.add(treeClass, pyTuple{pyTuple{middle, "d", last}, middle}),
				}, first}
			}},
		"OOBucket": {class: bucketClass, want: []string{"x/a", "x/b/2"},
			state: func(w *world) any {
				return pyTuple{pyTuple{"a", w.file()}, w.add(bucketClass, pyTuple{pyTuple{"b", pyTuple{1, 2, w.file()}}})}
			}},
		"OOTreeSet": {class: setClass, want: []string{"x/0", "x/1", "x/2"},
			state: func(w *world) any {
				last := w.add(setLeafClass, pyTuple{pyTuple{w.file()}})
				first := w.add(setLeafClass, pyTuple{pyTuple{w.file(), w.file()}, last})
				return pyTuple{pyTuple{first, w.file(), last}, first}
			}},
		"ghost of an unknown class": {class: record.Class{Module: "no.such", Name: "Thing"}, want: []string{"x/attr"},
			state: func(w *world) any { return pyMap{"attr": w.file(), "other": pyRef{}} }},
	}
}

func merged(tables ...map[string]way) map[string]way {
	all := map[string]way{}
	for _, table := range tables {
		maps.Copy(all, table)
	}
	return all
}

// TestPathsAreHowPythonReachesTheObjects: every way in which one object may refer
// to another gives the name that one would type in Python, more or less.
func TestPathsAreHowPythonReachesTheObjects(t *testing.T) {
	for name, test := range merged(waysOfMappings(), waysOfObjects(), waysOfTrees()) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			oid := w.New()
			w.Store(oid, pickled(test.class, test.state(w)))
			w.root(pyMap{"x": pyRef{oid, test.class}})
			got := w.paths()
			require.Equal(t, test.want, got)
			for _, path := range got {
				e, err := Find(t.Context(), w.stor, w.tid, path)
				require.NoError(t, err)
				require.Equal(t, path, e.Path)
			}
		})
	}
}

func TestFewestNamesWinAndThenTheFirst(t *testing.T) {
	w := newWorld(t)
	near, tied, far := w.file(), w.file(), w.file()
	// Two objects away and three names away.
	deep := w.add(appClass, pyMap{"conf": pyMap{"list": pyList{far}}})
	folder := w.add(mappingClass, pyMap{"data": pyMap{"near": near, "tied": tied, "deep": deep}})
	chain := w.add(mappingClass, pyMap{"data": pyMap{"far": far}})
	w.root(pyMap{
		"zz": near, "b": folder, "a": w.add(mappingClass, pyMap{"data": pyMap{"tied": tied, "next": w.add(mappingClass, pyMap{"data": pyMap{"chain": chain}})}}),
	})
	require.Equal(t, []string{"zz", "a/tied", "a/next/chain/far"}, w.paths())
}

func TestObjectsThatReferToEachOtherAreSeenOnce(t *testing.T) {
	w := newWorld(t)
	a, b := w.New(), w.New()
	file := w.file()
	w.Store(a, pickled(appClass, pyMap{"parent": pyRef{rootOid, mappingClass}, "other": pyRef{b, appClass}, "self": pyRef{a, appClass}}))
	w.Store(b, pickled(appClass, pyMap{"other": pyRef{a, appClass}, "file": file}))
	w.root(pyMap{"a": pyRef{a, appClass}})
	require.Equal(t, []string{"a/other/file"}, w.paths())

	// Any way leads there all the same.
	for _, name := range []string{"a/self/self/other/file", "a/parent/a/other/other/other/file"} {
		e, err := Find(t.Context(), w.stor, w.tid, name)
		require.NoError(t, err)
		require.Equal(t, file.oid, e.Oid)
		require.Equal(t, name, e.Path)
	}
}

func TestTheFileOfAnArrayIsAPartOfIt(t *testing.T) {
	w := newWorld(t)
	own, shared := w.file(0), w.file(0, 2)
	derived := record.Class{Module: "app.arrays", Name: "Labelled"}
	w.root(pyMap{
		"own": w.array(1, own), "shared": w.array(3, shared), "view": w.array(2, shared),
		"derived": w.add(derived, arrayState(1, w.file())),
		"files":   w.add(listClass, pyMap{"data": pyList{shared}}),
	})
	require.Equal(t, []string{"derived", "own", "shared", "view", "files/0"}, w.paths())
	for name, file := range map[string]pyRef{"own": own, "shared": shared, "view": shared, "files/0": shared, "view/zfile": shared} {
		e, err := Find(t.Context(), w.stor, w.tid, name)
		require.NoError(t, err)
		require.Equal(t, file.oid, e.File)
		require.Equal(t, e.Oid == e.File, e.Array == nil, name)
	}
}

func TestEntriesTellWhatTheyAre(t *testing.T) {
	w := newWorld(t)
	file := w.file(0, 3)
	array := w.array(3, file)
	w.root(pyMap{"arr": array})
	first := w.commit()
	bare := w.file()
	w.root(pyMap{"arr": array, "bare": bare})
	second := w.commit()

	entries := w.entries(second)
	require.Len(t, entries, 2)
	arr, empty := entries[0], entries[1]
	require.Equal(t, "<f8", arr.Array.DType.String())
	require.Equal(t, []int64{3}, arr.Array.Shape)
	arr.Array = nil
	require.Equal(t, &Entry{Path: "arr", Names: []string{"arr"}, Oid: array.oid, Class: zBigArray, File: file.oid, BlkSize: 8, Size: 32, Blocks: 2, Rev: first}, arr)
	require.Equal(t, &Entry{Path: "bare", Names: []string{"bare"}, Oid: bare.oid, Class: record.ZBigFile, File: bare.oid, BlkSize: 8, Rev: second}, empty)
	require.Len(t, w.entries(first), 1)
	require.Empty(t, w.entries(first-1))

	// Find leaves out what costs time.
	e, err := Find(t.Context(), w.stor, second, "arr")
	require.NoError(t, err)
	require.Equal(t, int64(32), e.Size)
	require.Zero(t, e.Blocks)
	require.NoError(t, e.Measure(t.Context(), w.stor, second))
	require.Equal(t, int64(2), e.Blocks)
	require.Equal(t, first, e.Rev)
}

// TestEveryObjectOfAFileIsOfItsRevision changes one after another.
func TestEveryObjectOfAFileIsOfItsRevision(t *testing.T) {
	w := newWorld(t)
	var blocks []int64
	for blk := range int64(200) {
		blocks = append(blocks, blk)
	}
	file := w.file(blocks...)
	w.root(pyMap{"arr": w.array(1, file)})
	records := maps.Clone(w.records)
	w.commit()
	seen := make(map[record.Class]bool)
	for _, oid := range slices.Sorted(maps.Keys(records)) {
		if oid == rootOid {
			continue
		}
		w.Store(oid, records[oid])
		seen[w.classes[oid]] = true
		at := w.commit()
		entries := w.entries(at)
		require.Len(t, entries, 1)
		require.Equal(t, at, entries[0].Rev, w.classes[oid].String())
	}
	require.Len(t, seen, 5)
}

// headers is a storage that knows serials without loading data.
type headers struct{ storage.Storage }

func (h headers) Serial(ctx context.Context, xid zodb.Xid) (zodb.Tid, error) { return 0x77777, nil }

func TestDataIsNotLoadedForItsSerial(t *testing.T) {
	w := newWorld(t)
	file := w.file(0, 1, 2)
	items := pyMap{"file": file}
	for oid, class := range w.classes {
		if class == record.ZBlk0 {
			items["block"] = pyRef{oid, class}
		}
	}
	w.root(items)
	at := w.commit()
	w.stor.OnLoad(func(_ context.Context, xid zodb.Xid) error {
		require.NotEqual(t, record.ZBlk0, w.classes[xid.Oid])
		return nil
	})
	require.NoError(t, Walk(t.Context(), headers{w.stor}, at, func(e *Entry) error {
		require.Equal(t, int64(3), e.Blocks)
		require.Equal(t, zodb.Tid(0x77777), e.Rev)
		return nil
	}))
}

// TestDamageCostsOnlyWhatIsDamaged: everything else is still found.
func TestDamageCostsOnlyWhatIsDamaged(t *testing.T) {
	garbage := []byte("\x80\x03garbage")
	for name, test := range map[string]struct {
		spoil func(w *world, x pyRef) // x is an object of the class, with a file and some more
		class record.Class
		want  []string
	}{
		"file":               {class: record.ZBigFile, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) { w.records[x.oid] = garbage }},
		"missing file":       {class: record.ZBigFile, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) { delete(w.records, x.oid) }},
		"array":              {class: zBigArray, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) { w.records[x.oid] = garbage }},
		"missing array":      {class: zBigArray, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) { delete(w.records, x.oid) }},
		"array without file": {class: zBigArray, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) { w.Store(x.oid, pickled(zBigArray, arrayState(1, nil))) }},
		"its file missing":   {class: zBigArray, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) { w.Store(x.oid, pickled(zBigArray, arrayState(1, pyRef{99, record.ZBigFile}))) }},
		"its file no file": {class: zBigArray, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) {
			w.Store(x.oid, pickled(zBigArray, arrayState(1, pyRef{rootOid, record.ZBigFile})))
		}},
		"odd array":      {class: zBigArray, want: []string{"a", "x", "z"}, spoil: func(w *world, x pyRef) { w.Store(x.oid, pickled(zBigArray, pyMap{"zfile": w.file()})) }},
		"folder":         {class: appClass, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) { w.records[x.oid] = garbage }},
		"missing folder": {class: appClass, want: []string{"a", "z"}, spoil: func(w *world, x pyRef) { delete(w.records, x.oid) }},
		"missing block": {class: record.ZBigFile, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) {
			for oid, class := range w.classes {
				if class == record.ZBlk0 {
					delete(w.records, oid)
				}
			}
		}},
		"missing table": {class: record.ZBigFile, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) {
			w.Store(x.oid, pickled(record.ZBigFile, pyTuple{8, pyRef{99, record.LOBTree}}))
		}},
		"OOBTree": {class: treeClass, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) { w.Store(x.oid, pickled(treeClass, pyTuple{1, 2, 3})) }},
		"bucket": {class: treeClass, want: []string{"a", "x?", "z", "x/k"}, spoil: func(w *world, x pyRef) {
			good, bad := w.add(bucketClass, pyTuple{pyTuple{"k", w.file()}}), w.add(bucketClass, pyTuple{pyTuple{"odd"}})
			w.Store(x.oid, pickled(treeClass, pyTuple{pyTuple{bad, "k", good}, bad}))
		}},
		"missing bucket": {class: treeClass, want: []string{"a", "x?", "z", "x/k"}, spoil: func(w *world, x pyRef) {
			good := w.add(bucketClass, pyTuple{pyTuple{"k", w.file()}})
			w.Store(x.oid, pickled(treeClass, pyTuple{pyTuple{pyRef{99, bucketClass}, "k", good}, good}))
		}},
		"tree of itself": {class: treeClass, want: []string{"a", "z"}, spoil: func(w *world, x pyRef) { w.Store(x.oid, pickled(treeClass, pyTuple{pyTuple{x, 1, x}, x})) }},
		"tree of mappings": {class: treeClass, want: []string{"a", "x?", "z"}, spoil: func(w *world, x pyRef) {
			m := w.add(mappingClass, pyMap{"data": pyMap{}})
			w.Store(x.oid, pickled(treeClass, pyTuple{pyTuple{m}, m}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			x := w.file(1)
			x.class = test.class
			w.classes = make(map[zodb.Oid]record.Class)
			w.root(pyMap{"a": w.file(), "x": x, "z": w.file()})
			for oid, data := range w.records {
				w.classes[oid], _ = record.ClassOf(data)
			}
			test.spoil(w, x)
			require.Equal(t, test.want, w.paths())
		})
	}
}

func TestADamagedRootIsAnError(t *testing.T) {
	w := newWorld(t)
	w.Store(rootOid, []byte("garbage"))
	at := w.commit()
	var corrupt *storage.CorruptError
	require.ErrorAs(t, Walk(t.Context(), w.stor, at, nil), &corrupt)
	_, err := Find(t.Context(), w.stor, at, "x")
	require.ErrorAs(t, err, &corrupt)
}

func TestErrorsOfTheDatabaseOrTheCallerEndAWalk(t *testing.T) {
	w := newWorld(t)
	w.root(pyMap{"a": w.file(), "b": w.array(1, w.file(0)), "c": w.file()})
	at := w.commit()

	mine := errors.New("mine")
	n := 0
	err := Walk(t.Context(), w.stor, at, func(*Entry) error { n++; return mine })
	require.Equal(t, mine, err)
	require.Equal(t, 1, n)

	var future *storage.FutureViewError
	require.ErrorAs(t, Walk(t.Context(), w.stor, at+1, nil), &future)

	begun := w.stor.Loads()
	require.NoError(t, Walk(t.Context(), w.stor, at, func(*Entry) error { return nil }))
	loads := w.stor.Loads() - begun
	require.Greater(t, loads, int64(10))
	for _, want := range []error{context.Canceled, storage.ErrClosed, &storage.DownError{Err: mine}, &storage.FutureViewError{}} {
		for skip := range loads {
			ctx, cancel := context.WithCancel(t.Context())
			begun := w.stor.Loads()
			w.stor.OnLoad(func(context.Context, zodb.Xid) error {
				if w.stor.Loads()-begun <= skip {
					return nil
				}
				if want == context.Canceled {
					cancel()
				}
				return want
			})
			err := Walk(ctx, w.stor, at, func(e *Entry) error {
				require.NoError(t, e.Err)
				return nil
			})
			require.ErrorIs(t, err, want)
			cancel()
		}
	}
	w.stor.OnLoad(nil)
	require.NoError(t, w.stor.Close())
	require.ErrorIs(t, Walk(t.Context(), w.stor, at, nil), storage.ErrClosed)
}
