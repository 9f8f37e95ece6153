package versions

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
	h := NewHistory(nil, &grid{}, 0)
	files := []*File{{Oid: 10}, {Oid: 11}, {Oid: 12}}
	attached, linked := make(map[*File]struct{}), make(map[user]struct{})
	for range 3000 {
		who := user{files[rnd.IntN(3)], rnd.Int64N(2)}
		switch rnd.IntN(4) {
		case 0:
			h.attach(node, who.file)
			attached[who.file] = struct{}{}
		case 1:
			h.detach(node, who.file)
			delete(attached, who.file)
		case 2:
			h.link(zblk, who.file, who.blk)
			linked[who] = struct{}{}
		case 3:
			h.unlink(zblk, who.file, who.blk)
			delete(linked, who)
		}
		var to []*File
		if d, ok := h.nodes[node]; ok {
			to = append(d.more, d.first)
		}
		require.ElementsMatch(t, keysOf(attached), to)
		_, users := h.hits([]zodb.Oid{zblk})
		require.ElementsMatch(t, keysOf(linked), users)
	}
	for who := range linked {
		h.unlink(zblk, who.file, who.blk)
	}
	require.Zero(t, len(h.zblks)+len(h.shared))
}

func keysOf[K comparable](set map[K]struct{}) (keys []K) {
	for key := range set {
		keys = append(keys, key)
	}
	return keys
}
