package naming

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/serve/fusefs"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/t/oracle"
)

// shown is an item with its path: keys joined by slashes, as catalog has it.
type shown struct {
	fusefs.Item
	path string
}

// walkTree goes over all directories, as find(1) does, and notes arrays and files.
func walkTree(t *testing.T, tree *Tree, at zodb.Tid, dir, keys string, found map[shown]bool) (directories int) {
	items, err := tree.List(t.Context(), at, dir)
	require.NoError(t, err)
	for _, item := range items {
		name := path.Join(dir, item.Name)
		same, err := tree.Find(t.Context(), at, name)
		require.NoError(t, err)
		require.Equal(t, item, same)
		key, ok := Decode(item.Name)
		require.True(t, ok)
		if dir != "" {
			key = keys + "/" + key
		}
		if item.JSON {
			found[shown{fusefs.Item{JSON: true, Oid: item.Oid}, key}] = true
		}
		if item.Link != "" {
			to := path.Join("/", dir, item.Link)[1:]
			if to == "" {
				continue
			}
			target, err := tree.Find(t.Context(), at, to)
			require.NoError(t, err, "%s -> %s", name, item.Link)
			require.True(t, target.Dir, "%s -> %s", name, item.Link)
			require.Empty(t, target.Link, "%s -> %s leads to a link", name, item.Link)
		} else if item.Dir {
			directories += 1 + walkTree(t, tree, at, name, key, found)
		}
	}
	return directories
}

// sameAsWalk checks that all that catalog.Walk finds is shown under its path.
func sameAsWalk(t *testing.T, tree *Tree, src storage.Loader, at zodb.Tid) (entries, directories int) {
	found := make(map[shown]bool)
	directories = walkTree(t, tree, at, "", "", found)
	require.NoError(t, catalog.Walk(t.Context(), src, at, func(e *catalog.Entry) error {
		entries++
		require.True(t, found[shown{fusefs.Item{JSON: true, Oid: e.Oid}, e.Path}], "%s is not shown", e.Path)
		return nil
	}))
	return entries, directories
}

func TestDatabasesOfPythonAreShown(t *testing.T) {
	t.Parallel()
	for _, name := range oracle.All(t) {
		t.Run(name, func(t *testing.T) {
			db := oracle.Load(t, name)
			url, err := storage.ParseURL("file://" + db.Path)
			require.NoError(t, err)
			stor, _, err := fs1.Open(t.Context(), url, storage.Options{Warnf: t.Logf})
			require.NoError(t, err)
			defer stor.Close()
			tree := New(t.Context(), stor)
			defer tree.Close()
			entries, _ := sameAsWalk(t, tree, stor, db.Head)
			require.NotZero(t, entries)
		})
	}
}

// TestWhateverWalkFindsIsShown under the same path, in databases of any shape, and the
// directories are not many more than the objects and values that they are.
func TestWhateverWalkFindsIsShown(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	sum := 0
	for range 150 {
		w := newWorld(t)
		values := randomWorld(w, rnd, 1+rnd.IntN(25))
		at := w.commit()
		entries, directories := sameAsWalk(t, w.tree, w.stor, at)
		sum += entries
		if values > 0 {
			require.Less(t, directories, 1000*values)
		}
	}
	require.Greater(t, sum, 150)
}

// randomWorld makes n objects that refer to each other at random, some of which are files
// and arrays. It returns how many directories they and their values can be.
func randomWorld(w *world, rnd *rand.Rand, n int) (values int) {
	all := []ref{{0, mappingClass}}
	for range n {
		switch rnd.IntN(8) {
		case 0:
			all = append(all, w.file())
		case 1:
			all = append(all, w.array(1))
		case 2:
			all = append(all, w.new(listClass))
		case 3:
			all = append(all, w.new(treeClass))
		case 4:
			all = append(all, w.new(mappingClass))
		default:
			all = append(all, w.new(appClass))
		}
	}
	link := func() ref {
		r := all[rnd.IntN(len(all))]
		if rnd.IntN(3) == 0 {
			r.class = appClass // references may be wrong about the class
		}
		return r
	}
	for _, r := range all {
		var items dict
		for _, i := range rnd.Perm(6)[:1+rnd.IntN(4)] {
			key := fmt.Sprint(i)
			if rnd.IntN(8) == 0 {
				key += "/%\n.npy"
			}
			if rnd.IntN(4) == 0 {
				values += 2
				items = append(items, key, tuple{nil, dict{"k", link(), "l", link()}})
			} else {
				items = append(items, key, link())
			}
		}
		switch r.class {
		case mappingClass:
			w.put(r, dict{"data", items, "attr", link()})
		case listClass:
			w.put(r, dict{"data", tuple{link(), nil, link()}})
		case appClass:
			w.put(r, items)
		case treeClass:
			w.put(r, tuple{tuple{tuple{tuple(items)}}})
		case record.ZBigArray, record.ZBigFile:
			continue
		}
		values++
	}
	return values
}

// BenchmarkList lists 10 000 arrays of one folder: for the first time at a view, and again.
func BenchmarkList(b *testing.B) {
	w := newWorld(b)
	var items []any
	for i := range 10_000 {
		items = append(items, fmt.Sprintf("array%05d", i), w.array(1000))
	}
	w.root(items...)
	w.commit()
	w.list("")
	for _, cold := range []bool{true, false} {
		b.Run(fmt.Sprintf("cold=%v", cold), func(b *testing.B) {
			for b.Loop() {
				tree := w.tree
				if cold {
					tree = New(context.Background(), w.stor)
				}
				list, err := tree.List(b.Context(), w.at, "")
				require.NoError(b, err)
				require.Len(b, list, 10_000)
				if cold {
					tree.Close()
				}
			}
		})
	}
}
