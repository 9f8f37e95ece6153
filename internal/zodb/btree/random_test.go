package btree

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"
	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/zodb/record"
)

// TestWalksAgreeWithAMap compares all walks on random trees with the map that a
// plain recursion makes of them.
func TestWalksAgreeWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		g := &generator{rng: rng, recs: records{}, keys: map[int64]zodb.Oid{}, next: 2}
		g.node(1, minTest, maxTest, rng.IntN(5))
		src := Direct{g.recs}
		keys := slices.Sorted(maps.Keys(g.keys))
		for key := int64(-60); key < 60; key++ {
			found, err := Lookup(ctx, src, 1, 1, key)
			value, ok := g.keys[key]
			if err != nil || found.OK != ok || found.Value != value {
				t.Fatalf("%d: %+v %v; want %v %v", key, found, err, value, ok)
			}
			last := found.Path[len(found.Path)-1]
			if key < last.Lo || key > last.Hi {
				t.Fatalf("%d: %+v", key, last)
			}
		}
		key, ok, _, err := MaxKey(ctx, src, 1, 1)
		if err != nil || ok != (len(keys) > 0) || ok && key != keys[len(keys)-1] {
			t.Fatalf("max key %d %v %v; want %v", key, ok, err, keys)
		}
		var got []int64
		lo, hi := rng.Int64N(120)-60, rng.Int64N(120)-60
		err = Items(ctx, src, 1, 1, lo, hi, func(key int64, _ zodb.Oid) error { got = append(got, key); return nil })
		want := slices.DeleteFunc(keys, func(key int64) bool { return key < lo || key > hi })
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("[%d, %d]: %v %v; want %v", lo, hi, got, err, want)
		}
	})
}

// Keys of random trees.
const minTest, maxTest = -50, 50

// generator makes random trees, with odd ones among them.
type generator struct {
	rng  *rand.Rand
	recs records
	keys map[int64]zodb.Oid
	next zodb.Oid
}

// node makes node oid for keys in [lo, hi).
func (g *generator) node(oid zodb.Oid, lo, hi int64, depth int) {
	if depth == 0 || hi-lo < 3 {
		var keys []int64
		for key := lo - 1; key <= hi; key++ { // the first and last are not there
			if g.rng.IntN(3) == 0 && minTest <= key && key < maxTest {
				keys = append(keys, key)
				if lo <= key && key < hi {
					g.keys[key] = zodb.Oid(1000 + key)
				}
			}
		}
		switch g.rng.IntN(3) {
		case 0:
			g.recs[oid] = encode(record.LOBTree, tuple(tuple(bucket(keys...))))
		default:
			g.recs[oid] = encode(record.LOBucket, bucket(keys...))
		}
		return
	}
	child := func() zodb.Oid { g.next++; return g.next }
	items := []int64{int64(child())}
	bounds := []int64{lo}
	for sep := lo + g.rng.Int64N(10) + 1; sep < hi && g.rng.IntN(4) > 0; sep += g.rng.Int64N(10) + 1 {
		items = append(items, sep, int64(child()))
		bounds = append(bounds, sep)
	}
	bounds = append(bounds, hi)
	g.recs[oid] = encode(record.LOBTree, inner(items...))
	for i := 0; i < len(items); i += 2 {
		g.node(zodb.Oid(items[i]), bounds[i/2], bounds[i/2+1], g.rng.IntN(depth))
	}
}

// FuzzDecode checks what the walks rely on.
func FuzzDecode(f *testing.F) {
	for _, data := range sample() {
		f.Add(data)
	}
	f.Add(encode(record.IOBTree, tuple(tuple(bucket(0, 4096, 8192)))))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := Decode(data)
		if err != nil {
			return
		}
		extra := 0
		if !n.Leaf() {
			extra = 1
		}
		if len(n.Oids()) != len(n.Keys())+extra {
			t.Fatalf("%d keys, %d oids", len(n.Keys()), len(n.Oids()))
		}
		for i, key := range n.Keys() {
			if i > 0 && key <= n.Keys()[i-1] || n.Family() == IO && key != int64(int32(key)) {
				t.Fatalf("keys %d", n.Keys())
			}
		}
		if n.MemSize() > 1000+8*len(data) {
			t.Fatalf("%d bytes of memory for %d bytes", n.MemSize(), len(data))
		}
	})
}
