package naming

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func TestAnEmptyDatabaseHasNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	items, err := w.tree.List(t.Context(), 0, "")
	require.NoError(t, err)
	require.Empty(t, items)
	w.root()
	require.Empty(t, w.all())
}

// trees are what the root object has, and the tree that becomes of it.
var trees = map[string]struct {
	root func(w *world) []any
	want string
}{
	"arrays and files": {
		func(w *world) []any { return []any{"b", w.array(3), "a", w.file(), "n", 1, "text", "x"} },
		"a.json b.npy"},
	"arrays without form": {
		func(w *world) []any {
			overlap := "{'names': ['a', 'b'], 'formats': ['<i4', '<i2'], 'offsets': [0, 0]}"
			return []any{"a", w.arrayOf(overlap, ndarray.RowMajor, 3), "b", w.add(record.ZBigArray, dict{"zfile", w.file()})}
		},
		"a.json b.json"},
	"folders": {
		func(w *world) []any {
			return []any{"f", w.items("a", w.array(1), "g", w.items("b", w.file())), "empty", w.items()}
		},
		"empty/ f/ f/a.npy f/g/ f/g/b.json"},
	"values in values": {
		func(w *world) []any {
			return []any{"f", tuple{1, dict{"k", w.array(1), 7, w.file()}}, "no", tuple{1, 2}}
		},
		"f/ f/1/ f/1/7.json f/1/k.npy"},
	"objects of an application": {
		func(w *world) []any {
			leaf := w.add(appClass, dict{"title", "x"})
			return []any{"leaf", leaf, "thing", w.add(appClass, dict{"data", w.array(1), "leaf", leaf})}
		},
		"thing/ thing/data.npy"},
	"classes that are not told": {
		func(w *world) []any {
			return []any{"a", ref{w.array(1).oid, appClass}, "f", ref{w.file().oid, appClass}, "b", ref{w.add(record.ZBlk0, "x").oid, appClass}}
		},
		"a.npy f.json"},
	"data": {
		func(w *world) []any { return []any{"b", w.add(record.ZBlk0, "x")} }, ""},
	"derived arrays, which may lead on": {
		func(w *world) []any {
			state := func(more ...any) any {
				attrs := dict{"_dtype", "?", "_shape", tuple{1}, "zfile", w.file()}
				return append(attrs, more...)
			}
			return []any{"a", w.add(derivedClass, state()), "b", w.add(derivedClass, state("mask", w.array(1)))}
		},
		"a.json b/ b/mask.npy b.json"},
	"BTrees": {
		func(w *world) []any {
			last := w.add(bucketClass, tuple{tuple{"d", w.array(1), "e", 1}})
			first := w.add(bucketClass, tuple{tuple{"a", w.array(1), "b", w.file()}, last})
			tree := w.add(treeClass, tuple{tuple{first, "d", last}, first})
			return []any{"t", tree, "m", w.add(mappingClass, dict{"data", tree, "x", w.file()}), "n", w.add(numbersClass, nil)}
		},
		"m/ m/a.npy m/b.json m/d.npy m/x.json t/ t/a.npy t/b.json t/d.npy"},
	"names that no file can have": {
		func(w *world) []any {
			return []any{"a/b", w.array(1), "..", w.items("", w.file()), "a.npy", w.items(), "a", w.array(1), "\n", w.file()}
		},
		"%0A.json %2E./ %2E./%empty.json a.npy a%2Enpy/ a%2Fb.npy"},
}

// TestTreeShowsWhatObjectsLeadTo in all the ways in which they can, and nothing else.
func TestTreeShowsWhatObjectsLeadTo(t *testing.T) {
	t.Parallel()
	for name, test := range trees {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.root(test.root(w)...)
			require.Equal(t, lines(test.want), append([]string{}, w.all()...))
		})
	}
}

// TestTwoThingsNeverHaveOneName, and the first of them has the plain one.
func TestTwoThingsNeverHaveOneName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c, d := w.file(), w.array(1), w.file(), w.items("x", w.file())
	thing := w.add(mappingClass, dict{"data", dict{"1", a, 1, b, "own", c, "in", d, "twice", a}, "own", b, "in", tuple{a}, "twice", a})
	w.root("t", thing)
	require.Equal(t, lines(`t/ t/1.json t/1%@`+b.oid.String()+`.npy
		t/in/ t/in/0.json t/in%@`+d.oid.String()+`/ t/in%@`+d.oid.String()+`/x.json
		t/own.json t/own%@`+b.oid.String()+`.npy t/twice.json`), w.all())
	item, err := w.tree.Find(t.Context(), w.at, "t/1")
	require.NoError(t, err)
	require.Equal(t, a.oid, item.Oid)
}

// TestLongNamesLeadToTheirArrays, which say what they are really called.
func TestLongNamesLeadToTheirArrays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("/long", 100)
	w.root(long+"a", w.array(1), long+"b", w.array(2))
	w.commit()
	items := w.list("")
	require.Len(t, items, 2)
	for _, item := range items {
		require.LessOrEqual(t, len(item.Name)+len(".json"), 255)
		text, err := w.tree.Describe(t.Context(), w.at, item.Name)
		require.NoError(t, err)
		require.Contains(t, string(text), `"name": ["`+long)
	}
}

// TestCirclesAreLinks: a directory has one place, and is a link to there elsewhere.
func TestCirclesAreLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.new(mappingClass), w.new(mappingClass)
	file := w.file()
	root := ref{0, mappingClass}
	w.put(a, dict{"data", dict{"self", a, "root", root, "b", b, "in", tuple{a, b}, "file", file}})
	w.put(b, dict{"data", dict{"a", a, "in", tuple{root}, "file", file}})
	w.root("a", a, "alias", a, "self", root)
	require.Equal(t, lines(`a/ a/b/ a/b/a->../../a a/b/file.json a/b/in/ a/b/in/0->../../..
		a/file.json a/in/ a/in/0->../../a a/in/1->../b a/root->.. a/self->../a alias->a self->.`), joined(w.all()))

	// Links lead on all the same.
	for _, path := range []string{"a/b/a/file", "a/self/self/b/file", "a/root/alias/in/1/file"} {
		item, err := w.tree.Find(t.Context(), w.at, path)
		require.NoError(t, err)
		require.Equal(t, file.oid, item.Oid)
	}
}

// TestManyPathsAreOneTree: objects that all refer to each other are walked over once each.
func TestManyPathsAreOneTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var things []ref
	var all dict
	for i := range 50 {
		things = append(things, w.new(appClass))
		all = append(all, i, things[i])
	}
	for _, thing := range things {
		w.put(thing, dict{"related", all})
	}
	w.root("things", w.add(mappingClass, dict{"data", all}), "by_name", all)
	real := 0
	for _, path := range w.all() {
		if strings.HasSuffix(path, "/") && !strings.HasSuffix(path, "related/") {
			real++
		}
	}
	require.Equal(t, 52, real)
}

// TestDamageCostsWhatIsDamaged: everything beside it is shown.
func TestDamageCostsWhatIsDamaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken := func(class record.Class) ref {
		r := w.new(class)
		w.records[r.oid] = []byte("\x80\x03garbage")
		return r
	}
	good := w.add(bucketClass, tuple{tuple{"k", w.array(1)}})
	tree := w.add(treeClass, tuple{tuple{broken(bucketClass), "k", good}, good})
	w.root("a", w.array(1), "array", broken(record.ZBigArray), "file", broken(record.ZBigFile), "folder", broken(mappingClass), "thing", broken(appClass),
		"no array", w.new(record.ZBigArray), "no file", w.new(record.ZBigFile), "no folder", w.new(mappingClass), "no thing", w.new(appClass), "tree", tree, "z", w.file())
	at := w.commit()
	var shown []string
	for _, item := range w.list("") {
		shown = append(shown, item.Name)
	}
	require.Equal(t, strings.Split("a,array,file,folder,no array,no file,no folder,thing,tree,z", ","), shown)

	var corrupt *storage.CorruptError
	for _, dir := range []string{"folder", "thing"} {
		_, err := w.tree.List(t.Context(), at, dir)
		require.ErrorAs(t, err, &corrupt, dir)
	}
	require.Empty(t, w.list("no folder"))

	// Of a tree there is what can be read, and nobody says that the rest is not there.
	items, err := w.tree.List(t.Context(), at, "tree")
	require.ErrorAs(t, err, &corrupt)
	require.Len(t, items, 1)
	item, err := w.tree.Find(t.Context(), at, "tree/k")
	require.NoError(t, err)
	require.True(t, item.NPY)
	_, err = w.tree.Find(t.Context(), at, "tree/a")
	require.ErrorAs(t, err, &corrupt)

	for _, name := range []string{"array", "file", "no array", "no file"} {
		text, err := w.tree.Describe(t.Context(), at, name)
		require.NoError(t, err)
		require.Contains(t, string(text), `"npy": false`)
		require.Contains(t, string(text), `"reason": "`)
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.root("a", w.array(1), "f", w.items("b", w.file()), "leaf", w.add(appClass, nil))
	at := w.commit()
	for _, path := range []string{"", "x", "a/x", "a/zfile", "f/x", "f/b/x", "f/", "leaf", "a.npy", "f%@0000000000000001"} {
		_, err := w.tree.Find(t.Context(), at, path)
		require.True(t, fault.Is(err, fault.NoName), "%q: %v", path, err)
		_, err = w.tree.Describe(t.Context(), at, path)
		require.True(t, fault.Is(err, fault.NoName), "%q: %v", path, err)
	}
	_, err := w.tree.Describe(t.Context(), at, "f")
	require.True(t, fault.Is(err, fault.NoName))
	_, err = w.tree.List(t.Context(), at, "x")
	require.True(t, fault.Is(err, fault.NoName))
}

// TestOutagesAreNotRemembered: what could not be loaded for a reason of its own is loaded
// the next time.
func TestOutagesAreNotRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.root("a", w.array(1), "f", w.items("x", w.array(1)))
	at := w.commit()
	away := &storage.AwayError{Err: errors.New("no route")}
	for fail := range zodb.Oid(8) {
		w.tree = New(t.Context(), w.stor)
		defer w.tree.Close()
		w.failing(fail, away)
		_, _ = w.tree.List(t.Context(), at, "")
		_, _ = w.tree.List(t.Context(), at, "f")
		w.stor.OnLoad(nil)
		require.Len(t, w.list(""), 2)
		require.True(t, w.list("f")[0].NPY)
	}
	w.tree = New(t.Context(), w.stor)
	defer w.tree.Close()
	w.failing(0, away)
	_, err := w.tree.List(t.Context(), at, "")
	require.ErrorIs(t, err, away)
	w.stor.OnLoad(nil)
}

// TestDamageThatIsRepairedIsOver at once: a listing without what could not be read is not kept.
func TestDamageThatIsRepairedIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bucket := w.add(bucketClass, tuple{tuple{"k", w.array(1)}})
	w.root("tree", w.add(treeClass, tuple{tuple{bucket}, bucket}))
	at := w.commit()
	bad := &storage.CorruptError{Oid: bucket.oid, Err: errors.New("a bit fell over")}
	w.failing(bucket.oid, bad)
	for range 2 {
		_, err := w.tree.Find(t.Context(), at, "tree/k")
		require.ErrorIs(t, err, bad)
	}
	w.stor.OnLoad(nil)
	_, err := w.tree.Find(t.Context(), at, "tree/k")
	require.NoError(t, err)
}
