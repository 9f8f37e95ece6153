package changes

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var seedFlag = flag.Uint64("seed", 0, "run only the random history of this seed")

// TestRandomHistoriesAreFoundAsByBruteForce compares Log and Diff with what
// looking up all blocks at all views finds: trees of all shapes, shared ZBlks,
// nodes that come, go and are damaged, files that do.
func TestRandomHistoriesAreFoundAsByBruteForce(t *testing.T) {
	n := 100
	if testing.Short() {
		n = 30
	}
	for range n {
		seed := rand.Uint64()
		if *seedFlag != 0 {
			seed = *seedFlag
		}
		if !t.Run("", func(t *testing.T) { checkHistory(t, seed) }) {
			t.Fatalf("seed %d; to repeat: go test -run %s -seed %d ./internal/arrays/changes", seed, t.Name(), seed)
		}
		if *seedFlag != 0 {
			return
		}
	}
}

func checkHistory(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(rnd)
	for range 25 {
		w.step(t)
	}
	defer func() {
		if t.Failed() {
			t.Logf("reuse %d, %d\n%s", w.tables[0].Reuse, w.tables[1].Reuse, strings.Join(w.notes, "\n"))
		}
	}()
	const probed = keySpace + 1 // what is unknown may begin behind the last key
	var views []*view
	for at := range w.head + 1 {
		views = append(views, viewAt(t, w.db, theArray, theFile, at, probed))
	}
	oids := make([]map[zodb.Oid]bool, len(views))
	require.NoError(t, w.db.Iterate(ctx, 0, zodb.TidMax, func(txn *storage.Txn) error {
		oids[txn.Tid] = make(map[zodb.Oid]bool)
		for _, oid := range txn.Oids {
			oids[txn.Tid][oid] = true
		}
		return nil
	}))
	for _, lo := range []zodb.Tid{0, zodb.Tid(rnd.IntN(20))} {
		checkLog(t, w, views, oids, lo, w.head-zodb.Tid(rnd.IntN(4)))
	}
	for range 20 {
		checkDiff(t, w, views, oids, zodb.Tid(rnd.IntN(len(views))), zodb.Tid(rnd.IntN(len(views))))
	}
}

func checkLog(t *testing.T, w *world, views []*view, oids []map[zodb.Oid]bool, lo, hi zodb.Tid) {
	got := collect(t, w.db, theArray, theFile, lo, hi)
	for at := lo + 1; at <= hi; at++ {
		want := compare(views[at-1], views[at], oids[at])
		if want.Empty() {
			continue
		}
		require.NotEmpty(t, got, "@%s: want %+v", at, want)
		want.Tid, want.User, want.Description = at, got[0].User, got[0].Description
		requireSame(t, want, got[0], "@%s", at)
		require.Equal(t, "me", got[0].User)
		got = got[1:]
	}
	require.Empty(t, got)
}

func checkDiff(t *testing.T, w *world, views []*view, oids []map[zodb.Oid]bool, a, b zodb.Tid) {
	got, err := Diff(ctx, w.db, theArray, theFile, a, b)
	require.NoError(t, err)
	lo, hi := min(a, b), max(a, b)
	stored := make(map[zodb.Oid]bool)
	for at := lo + 1; at <= hi; at++ {
		for oid := range oids[at] {
			stored[oid] = true
		}
	}
	want := compare(views[lo], views[hi], stored)
	want.Tid = hi
	requireSame(t, want, got, "@%s and @%s", a, b)

	// Nothing differs that no transaction changed.
	var all Change
	sameSize := true
	for _, c := range collect(t, w.db, theArray, theFile, lo, hi) {
		all.Blocks = append(all.Blocks, c.Blocks...)
		sameSize = sameSize && (c.BlkSize == 0 || c.BlkSize == got.BlkSize) && c.Events&Recreated == 0
	}
	if sameSize {
		requireCovers(t, &all, blocksOf(got))
	}
}

// TestWhatIsFollowedIsWhatIsThere: going from transaction to transaction leads to
// the same table as walking all of it, also through trees that are none because
// nodes are linked to each other at random.
func TestWhatIsFollowedIsWhatIsThere(t *testing.T) {
	for i := range 100 {
		seed := rand.Uint64()
		if i == 0 { // a size that leads through nodes of a tangled tree which are not walked
			seed = 14576607190845142116
		}
		if *seedFlag != 0 {
			seed = *seedFlag
		}
		ok := t.Run("", func(t *testing.T) {
			w := newWorld(rand.New(rand.NewPCG(seed, 0)))
			w.tangles = true
			s := newState(w.db, theArray, theFile)
			for range 25 {
				w.step(t)
				oids := slices.Collect(maps.Keys(w.last))
				_, err := s.advance(ctx, w.head, oids)
				require.NoError(t, err)
				want := newState(w.db, theArray, theFile)
				require.NoError(t, want.load(ctx, w.head))
				requireSameState(t, want, s, w.notes)
			}
		})
		if !ok {
			t.Fatalf("seed %d; to repeat: go test -run %s -seed %d ./internal/arrays/changes", seed, t.Name(), seed)
		}
		if *seedFlag != 0 {
			return
		}
	}
}

func requireSameState(t *testing.T, want, got *state, notes []string) {
	t.Helper()
	items := func(s *state) (items []item) {
		items = s.links.items()
		slices.SortFunc(items, func(a, b item) int { return int(a.blk - b.blk) })
		return items
	}
	about := strings.Join(notes, "\n")
	require.Equal(t, want.file, got.file, about)
	require.Equal(t, want.nodes, got.nodes, about)
	require.Equal(t, slices.Sorted(maps.Keys(want.bad)), slices.Sorted(maps.Keys(got.bad)), about)
	require.Equal(t, items(want), items(got), about)
	require.Equal(t, want.size, got.size, about)
	require.Equal(t, want.tangled, got.tangled, about)
}
