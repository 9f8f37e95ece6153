package control

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func nothing(string) bool { return false }

// TestResolveLinksIsEvalSymlinks on random trees of directories and links.
func TestResolveLinksIsEvalSymlinks(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	names := []string{"a", "b", "c"}
	path := func(depth int) string {
		parts := make([]string, 1+random.IntN(depth))
		for i := range parts {
			parts[i] = append(names, "..", ".")[random.IntN(len(names)+2)]
		}
		return strings.Join(parts, "/")
	}
	for range 60 {
		name := filepath.Join(root, path(4))
		if !strings.HasPrefix(name, root+"/") {
			continue
		}
		switch random.IntN(3) {
		case 0:
			_ = os.MkdirAll(name, 0o755)
		case 1:
			_ = os.Symlink(path(3), name)
		default:
			_ = os.Symlink(filepath.Join(root, path(2)), name)
		}
	}
	resolved := 0
	for range 3000 {
		name := filepath.Join(root, path(6))
		want, err := filepath.EvalSymlinks(name)
		if err != nil {
			continue // missing, or a loop
		}
		resolved++
		require.Equal(t, want, resolveLinks(name, nothing), name)
	}
	require.Greater(t, resolved, 50)
}

// TestResolveLinksStopsAtAMount: what is there or below is never looked at.
func TestResolveLinksStopsAtAMount(t *testing.T) {
	t.Parallel()
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	mnt := filepath.Join(root, "mnt")
	require.NoError(t, os.Mkdir(mnt, 0o755))
	require.NoError(t, os.Symlink("/nonsense", filepath.Join(mnt, "link")))
	require.NoError(t, os.Symlink("mnt", filepath.Join(root, "to")))
	stop := func(path string) bool { return path == mnt }
	require.Equal(t, mnt, resolveLinks(filepath.Join(root, "to"), stop))
	require.Equal(t, mnt+"/link/x", resolveLinks(filepath.Join(root, "to/link/x"), stop))
	require.Equal(t, "/nonsense/x", resolveLinks(filepath.Join(root, "to/link/x"), nothing))
	require.NoError(t, os.Symlink("loop", filepath.Join(root, "loop")))
	require.Equal(t, root+"/loop", resolveLinks(root+"/loop", nothing))
}

// TestEquivalentURLsAreOneDatabase has the spellings that clients agree on.
func TestEquivalentURLsAreOneDatabase(t *testing.T) {
	t.Parallel()
	same := [][]string{
		{"file:///a.fs"},
		{"file:///a.fs?read_only=1"},
		{"FILE:///a.fs"},
		{"zeo://localhost:1"},
		{"neo://c@a:1,b:2", "neo://c@b:2,a:1", "neo://c@a:1,b:2?logfile=x", "neo://c@b:2,a:1?read-only=1&compress=1"},
		{"neos://c@a:1", "neo://c@a:1?ca=x&cert=y&key=z", "neos://c@a:1?cert=other"},
		{"mysql://not/known"},
	}
	for i, group := range same {
		for j, other := range same {
			for _, a := range group {
				for _, b := range other {
					require.Equal(t, i == j, storage.SameDatabase(a, b), "%s %s", a, b)
				}
			}
		}
	}
}

func TestTargetMeansTheUsualServerFirst(t *testing.T) {
	t.Parallel()
	const zurl = "neo://c@a:1,b:2"
	usual, err := mount.Point(zurl)
	require.NoError(t, err)
	at := func(dir, source string, also ...string) Server {
		return Server{Entry: mount.Entry{Dir: dir, Source: source, Also: also}}
	}
	servers := []Server{at("/x", zurl), at("/y", "neo://other@a:1"), at(usual, "neo://c@b:2,a:1"), at("/z", "file:///data.fs", "/bind")}
	for _, c := range []struct {
		target Target
		dirs   []string
	}{
		{Target{ZURL: zurl}, []string{usual, "/x"}},
		{Target{ZURL: "neo://c@b:2,a:1?logfile=q"}, []string{usual, "/x"}},
		{Target{Path: "/x", ZURL: "file:///x"}, []string{"/x"}},
		{Target{Path: usual, ZURL: "file://" + usual}, []string{usual}},
		{Target{Path: "/data.fs", ZURL: "file:///data.fs"}, []string{"/z"}},
		{Target{Path: "/bind", ZURL: "file:///bind"}, []string{"/z"}},
		{Target{Path: "/x/head", ZURL: "file:///x/head"}, nil},
		{Target{ZURL: "strange://"}, nil},
	} {
		var dirs []string
		for _, s := range c.target.among(servers) {
			dirs = append(dirs, s.Dir)
		}
		require.Equal(t, c.dirs, dirs, fmt.Sprint(c.target))
	}
}
