package catalog

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNestingIsBounded: what a small record can do must not take much.
func TestNestingIsBounded(t *testing.T) {
	w := newWorld(t)
	var deep any = w.file()
	for range 100_000 {
		deep = pyTuple{deep}
	}
	// Tuples that each have the one before twice: 2^60 values by way of the memo.
	bomb := "(X\x01\x00\x00\x00xtq\x00"
	for i := range 60 {
		bomb += fmt.Sprintf("0h%ch%c\x86q%c", i, i, i+1)
	}
	w.root(pyMap{"a": w.file(), "deep": w.add(appClass, deep), "bomb": w.add(appClass, pyTuple{pyRaw(bomb), w.file()})})
	require.Equal(t, []string{"a", "bomb/1"}, w.paths())
}

func TestTenThousandObjectsAreLoadedOnceEach(t *testing.T) {
	w := newWorld(t)
	const folders, files = 99, 100
	root := pyMap{}
	for i := range folders {
		items := pyMap{}
		for j := range files {
			items[fmt.Sprint(j)] = w.add(appClass, pyMap{"back": pyRef{rootOid, mappingClass}})
		}
		root[fmt.Sprint(i)] = w.add(mappingClass, pyMap{"data": items})
	}
	// A list of objects that each know the next one.
	next := w.add(appClass, pyMap{"file": w.file()})
	const length = 3000
	for range length {
		next = w.add(appClass, pyMap{"next": next})
	}
	root["list"] = next
	w.root(root)
	before := w.stor.Loads()
	require.Len(t, w.paths(), 1)
	// The file and its table are loaded once more to measure them.
	require.Equal(t, int64(1+folders+folders*files+length+1+1+3), w.stor.Loads()-before)
}
