package catalog

import (
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
)

// FuzzWalk walks through a database of two objects that may be anything.
func FuzzWalk(f *testing.F) {
	w := newWorld(f)
	other := pyRef{1, appClass}
	for _, data := range [][]byte{
		mapping(pyMap{"a": other}),
		pickled(treeClass, pyTuple{pyTuple{pyTuple{pyTuple{"k", other}}}}),
		pickled(treeClass, pyTuple{pyTuple{other, "k", other}, other}),
		pickled(bucketClass, pyTuple{pyTuple{"k", other}, other}),
		pickled(setClass, pyTuple{pyTuple{other}, other}),
		pickled(zBigArray, arrayState(3, other)),
		pickled(record.ZBigFile, pyTuple{8, pyRef{1, record.LOBTree}}),
		pickled(listClass, pyMap{"data": pyList{other, pyNew{appClass, pyMap{"x": other}}}}),
	} {
		f.Add(data, mapping(pyMap{"a": other}))
		f.Add(mapping(pyMap{"a": other}), data)
	}
	f.Fuzz(func(t *testing.T, root, other []byte) {
		if len(root) == 0 || len(other) == 0 {
			return
		}
		w.records = map[zodb.Oid][]byte{rootOid: root, 1: other}
		at := w.commit()
		_ = Walk(t.Context(), w.stor, at, func(e *Entry) error {
			_, err := Find(t.Context(), w.stor, at, e.Path)
			if err != nil && e.Err == nil && e.Oid != rootOid {
				t.Errorf("%q was found by Walk and not by Find: %v", e.Path, err)
			}
			return nil
		})
	})
}
