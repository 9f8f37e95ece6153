package served

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestNodesAndZBlksLeadToSets attaches files to a node and links blocks to a
// ZBlk, often more than once, and takes it back, often more than once.
func TestNodesAndZBlksLeadToSets(t *testing.T) {
	const node, zblk zodb.Oid = 1, 2
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	x := NewIndex()
	files := []zodb.Oid{10, 11, 12}
	for _, file := range files {
		x.Enter(file)
	}
	attached, linked := make(map[zodb.Oid]struct{}), make(map[Use]struct{})
	for range 3000 {
		who := Use{files[rnd.IntN(3)], rnd.Int64N(2)}
		switch rnd.IntN(4) {
		case 0:
			x.attach(node, who.File)
			attached[who.File] = struct{}{}
		case 1:
			x.detach(node, who.File)
			delete(attached, who.File)
		case 2:
			x.Link(zblk, who)
			linked[who] = struct{}{}
		case 3:
			x.Unlink(zblk, who)
			delete(linked, who)
		}
		var to []zodb.Oid
		if d, ok := x.nodes[node]; ok {
			to = append(d.more, d.first)
		}
		require.ElementsMatch(t, keysOf(attached), to)
		_, users := x.Hits([]zodb.Oid{zblk})
		require.ElementsMatch(t, keysOf(linked), users)
	}
	for who := range linked {
		x.Unlink(zblk, who)
	}
	require.Zero(t, len(x.zblks)+len(x.shared))
}

func keysOf[K comparable](set map[K]struct{}) (keys []K) {
	for key := range set {
		keys = append(keys, key)
	}
	return keys
}
