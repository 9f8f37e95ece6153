package lint

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/wcfs/wcfs/"

// layout is the list of packages in the section "Layout" of DESIGN.rst.
type layout []string

// readLayout reads it: names that end with a slash, below each other by indentation.
func readLayout(t *testing.T) (all layout) {
	t.Helper()
	_, text, found := strings.Cut(document(t, "DESIGN.rst"), "\nLayout\n======\n")
	require.True(t, found, "DESIGN.rst has no section Layout")
	text, _, _ = strings.Cut(text, "\n====")
	_, text, _ = strings.Cut(text, "::\n")
	var above []string
	for line := range strings.Lines(text) {
		name := regexp.MustCompile(`^((?:  )+)([a-z0-9]+(?:/[a-z0-9]+)*)/(?:\s|$)`).FindStringSubmatch(line)
		if name == nil {
			continue
		}
		depth := len(name[1])/2 - 1
		require.LessOrEqual(t, depth, len(above), line)
		above = append(above[:depth:depth], name[2])
		all = append(all, strings.Join(above, "/"))
	}
	require.Greater(t, len(all), 20)
	return all
}

// place returns where a package stands. Each has a line of its own, but for those below
// t/, which may import everything.
func (l layout) place(dir string) int { return slices.Index(l, dir) }

// TestImportsFollowTheLayout: a package imports only what stands above it in the list, so
// there are no circles, also not between wings.
func TestImportsFollowTheLayout(t *testing.T) {
	l := readLayout(t)
	for _, f := range theSource(t).files {
		if !f.isProduct() {
			continue
		}
		at := l.place(f.dir)
		if at < 0 {
			t.Errorf("%s: the list of DESIGN.rst does not say what the package is for", f.path)
			continue
		}
		for _, dir := range ours(f) {
			if l.place(dir) >= at {
				t.Errorf("%s imports %s, which stands below it in the list of DESIGN.rst", f.path, dir)
			}
		}
	}
}

// TestLayoutListsWhatIsThere, and nothing else.
func TestLayoutListsWhatIsThere(t *testing.T) {
	s := theSource(t)
	for _, dir := range readLayout(t) {
		isThere := func(f *file) bool { return strings.HasPrefix(f.path, dir+"/") }
		require.True(t, slices.ContainsFunc(s.files, isThere) || dir == "t/testdata", "DESIGN.rst lists %s, which has no Go code", dir)
	}
}

// strangers are what a wing must not know, by the beginning of its path.
var strangers = map[string][]string{
	"internal/core": {"github.com/hanwen/go-fuse", module + "internal/zodb/fs1", module + "internal/zodb/zeo",
		module + "internal/zodb/neo", module + "internal/zodb/postgresql",
		module + "internal/zodb/remote", module + "internal/zodb/demostorage", module + "internal/zodb/zwrite"},
	"internal/zodb": {"github.com/hanwen/go-fuse"},
}

// TestCoreKnowsNeitherFUSENorDrivers: all of it can be tested without a mount, with a
// database in memory.
func TestCoreKnowsNeitherFUSENorDrivers(t *testing.T) {
	for _, f := range theSource(t).files {
		for wing, unknown := range strangers {
			if !f.isProduct() || !strings.HasPrefix(f.dir, wing+"/") {
				continue
			}
			for _, path := range imports(f) {
				for _, stranger := range unknown {
					if strings.HasPrefix(path, stranger) {
						t.Errorf("%s imports %s, which %s must not know", f.path, path, wing)
					}
				}
			}
		}
	}
}

// imports returns the paths that a file imports.
func imports(f *file) (paths []string) {
	for _, i := range f.Imports {
		if path, err := strconv.Unquote(i.Path.Value); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// ours returns the directories of what it imports of this repository.
func ours(f *file) (dirs []string) {
	for _, path := range imports(f) {
		if dir, ok := strings.CutPrefix(path, module); ok {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
