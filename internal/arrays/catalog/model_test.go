package catalog

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// graph is a random database as a plain graph, from which it is clear what is
// reachable by which names.
type graph struct {
	world *world
	rnd   *rand.Rand
	nodes []pyRef
	edges map[zodb.Oid][]edge
	files map[zodb.Oid]bool
}

type edge struct {
	names []string
	to    zodb.Oid
}

// newGraph makes n objects that refer to each other at random, some of which are
// files and arrays.
func newGraph(t testing.TB, rnd *rand.Rand, n int) *graph {
	g := &graph{world: newWorld(t), rnd: rnd, edges: make(map[zodb.Oid][]edge), files: make(map[zodb.Oid]bool)}
	g.nodes = []pyRef{{rootOid, mappingClass}}
	for range n {
		switch rnd.IntN(8) {
		case 0:
			g.nodes = append(g.nodes, g.world.file())
		case 1:
			file := g.world.file()
			array := g.world.array(1, file)
			g.edges[array.oid] = []edge{{[]string{zfileAttr}, file.oid}}
			g.nodes = append(g.nodes, file, array)
		default:
			g.nodes = append(g.nodes, pyRef{g.world.New(), appClass})
		}
	}
	for i := range g.nodes {
		node := &g.nodes[i]
		if node.class == appClass || node.oid == rootOid {
			g.fill(node)
		} else {
			g.files[node.oid] = true
		}
	}
	return g
}

// fill gives an object a random state with references.
func (g *graph) fill(node *pyRef) {
	w, oid := g.world, node.oid
	link := func(names ...string) pyRef {
		to := g.nodes[g.rnd.IntN(len(g.nodes))]
		g.edges[oid] = append(g.edges[oid], edge{names, to.oid})
		if g.rnd.IntN(3) == 0 {
			to.class = appClass // references may be wrong about the class
		}
		if g.rnd.IntN(3) == 0 {
			to.class.Module, to.class.Name = "", ""
		}
		return to
	}
	names := g.rnd.Perm(6)[:g.rnd.IntN(4)]
	kind := g.rnd.IntN(5)
	if oid == rootOid {
		names, kind = g.rnd.Perm(6)[:4], 0
	}
	switch kind {
	case 0:
		items := pyMap{"none": nil}
		for _, i := range names {
			items[fmt.Sprint(i)] = link(fmt.Sprint(i))
		}
		w.Store(oid, mapping(items))
	case 1:
		attrs := pyMap{}
		for _, i := range names {
			attrs[fmt.Sprint(i)] = pyTuple{nil, pyMap{"k": link(fmt.Sprint(i), "1", "k")}}
		}
		w.Store(oid, pickled(appClass, attrs))
	case 2:
		list := pyList{}
		for i := range names {
			list = append(list, link(fmt.Sprint(i)))
		}
		w.Store(oid, pickled(listClass, pyMap{"data": list}))
	default: // a tree with one item a bucket
		children := pyTuple{}
		var next any
		for i := len(names) - 1; i >= 0; i-- {
			key := fmt.Sprintf("k%d", i)
			state := pyTuple{pyTuple{key, link(key)}}
			if next != nil {
				state = append(state, next)
			}
			bucket := w.add(bucketClass, state)
			if len(children) > 0 {
				children = append(pyTuple{fmt.Sprintf("k%d", i+1)}, children...)
			}
			children, next = append(pyTuple{bucket}, children...), bucket
		}
		state := any(pyTuple{children, next})
		if len(children) == 0 {
			state = nil
		}
		w.Store(oid, pickled(treeClass, state))
	}
}

// levels returns with how many names each object is reached at best, by relaxing
// all edges until nothing changes. An array does not lead to its file.
func (g *graph) levels() map[zodb.Oid]int {
	levels := map[zodb.Oid]int{rootOid: 0}
	for again := true; again; {
		again = false
		for from, edges := range g.edges {
			level, ok := levels[from]
			if !ok || g.files[from] {
				continue
			}
			for _, e := range edges {
				if have, ok := levels[e.to]; !ok || level+len(e.names) < have {
					levels[e.to] = level + len(e.names)
					again = true
				}
			}
		}
	}
	return levels
}

// follow returns the objects that a path leads to.
func (g *graph) follow(from zodb.Oid, names []string) (to []zodb.Oid) {
	if len(names) == 0 {
		return []zodb.Oid{from}
	}
	for _, e := range g.edges[from] {
		if len(e.names) <= len(names) && strings.Join(e.names, "/") == strings.Join(names[:len(e.names)], "/") {
			to = append(to, g.follow(e.to, names[len(e.names):])...)
		}
	}
	return to
}

// TestWalkAndFindAgreeWithAPlainGraph: Walk finds what is reachable, once, by a
// path with the fewest names that leads there, and Find finds it by any path.
func TestWalkAndFindAgreeWithAPlainGraph(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	seen, long := 0, 0
	for range 80 {
		g := newGraph(t, rnd, 1+rnd.IntN(25))
		at := g.world.commit()
		levels := g.levels()
		want := 0
		for oid := range g.files {
			if _, ok := levels[oid]; ok {
				want++
			}
		}
		entries := g.world.entries(at)
		found, last := make(map[zodb.Oid]bool), 0
		for _, e := range entries {
			require.NoError(t, e.Err)
			require.False(t, found[e.Oid], "%s: twice", e.Path)
			found[e.Oid] = true
			names := strings.Split(e.Path, "/")
			require.Len(t, names, levels[e.Oid], e.Path)
			require.GreaterOrEqual(t, len(names), last)
			last = len(names)
			require.Equal(t, []zodb.Oid{e.Oid}, g.follow(rootOid, names), e.Path)
			seen, long = seen+1, max(long, len(names))
		}
		require.Len(t, found, want)
		for range 15 {
			g.checkFind(t, at)
		}
	}
	require.Greater(t, seen, 80)
	require.Greater(t, long, 3)
}

// checkFind goes along random edges and looks the result up.
func (g *graph) checkFind(t *testing.T, at zodb.Tid) {
	t.Helper()
	var names []string
	oid := rootOid
	for range 1 + g.rnd.IntN(8) {
		edges := g.edges[oid]
		if len(edges) == 0 {
			break
		}
		e := edges[g.rnd.IntN(len(edges))]
		names, oid = append(names, e.names...), e.to
	}
	path := strings.Join(names, "/")
	e, err := Find(t.Context(), g.world.stor, at, path)
	var notFound *NotFoundError
	var wrong *WrongKindError
	switch {
	case path == "":
		require.Error(t, err)
	case g.files[oid]:
		require.NoError(t, err, path)
		require.Equal(t, oid, e.Oid, path)
	default:
		require.ErrorAs(t, err, &wrong, path)
		require.Equal(t, oid, wrong.Oid)
	}
	_, err = Find(t.Context(), g.world.stor, at, path+"/no")
	require.ErrorAs(t, err, &notFound)
}
