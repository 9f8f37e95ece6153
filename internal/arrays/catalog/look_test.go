package catalog

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// TestLooksAgreeWithAPlainGraph: each object tells the links that Walk follows, and
// whether there are any.
func TestLooksAgreeWithAPlainGraph(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 40 {
		g := newGraph(t, rnd, 1+rnd.IntN(25))
		at := g.world.commit()
		for _, node := range g.nodes {
			o, err := Look(t.Context(), g.world.stor, at, node.oid)
			require.NoError(t, err)
			require.Equal(t, g.files[node.oid], o.Entry() != nil)
			var want, got []string
			if !g.files[node.oid] {
				for _, e := range g.edges[node.oid] {
					want = append(want, strings.Join(e.names, "/")+" "+e.to.String())
				}
			}
			damage, err := o.Links(t.Context(), func(l *Link) error {
				got = append(got, strings.Join(l.Names, "/")+" "+l.Oid.String())
				return nil
			})
			require.NoError(t, err)
			require.NoError(t, damage)
			require.ElementsMatch(t, want, got)
			require.True(t, o.Leads() || len(got) == 0)
			require.True(t, !o.Leads() || len(got) > 0 || o.Class() == treeClass)
		}
	}
}

func TestTreesOfNumbersLeadNowhere(t *testing.T) {
	w := newWorld(t)
	numbers := record.Class{Module: "BTrees.LLBTree", Name: "LLBTree"}
	missing := pyRef{99, record.Class{Module: "BTrees.LLBTree", Name: "LLBucket"}}
	tree := w.add(numbers, pyTuple{pyTuple{missing}, missing})
	o, err := Look(t.Context(), w.stor, w.commit(), tree.oid)
	require.NoError(t, err)
	damage, err := o.Links(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, damage)
	require.False(t, o.Leads())
	require.False(t, IsContainer(numbers))
	require.True(t, IsContainer(treeClass))
	require.True(t, IsContainer(mappingClass))
	require.False(t, IsContainer(appClass))
}

// TestLookingThroughATreeIsBounded, however large it is.
func TestLookingThroughATreeIsBounded(t *testing.T) {
	w := newWorld(t)
	leaf := w.add(bucketClass, pyTuple{pyTuple{"k", 1}})
	tree := w.add(treeClass, pyTuple{pyTuple{leaf}, leaf})
	at := w.commit()
	v := follower{nodes: make(map[zodb.Oid]bool)}
	for oid := range zodb.Oid(maxNodes) {
		v.nodes[1000+oid] = true
	}
	require.False(t, v.node(leaf.oid))

	_, err := Look(t.Context(), w.stor, at+1, tree.oid)
	var future *storage.FutureViewError
	require.ErrorAs(t, err, &future)
}
