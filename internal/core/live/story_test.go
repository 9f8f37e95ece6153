package live

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/zwrite/topology"
)

// told tells a story: trees, each with names of ZBlks that get new data after a
// space.
func told(t *testing.T, transactions ...string) *story {
	s := newStory(topology.Writer{})
	for _, transaction := range transactions {
		text, changed, _ := strings.Cut(transaction, " ")
		require.NoError(t, s.tell(text, changed))
	}
	return s
}

func (s *story) follow(t *testing.T, at int) *reader {
	r, err := s.read(t.Context(), at)
	require.NoError(t, err)
	t.Cleanup(func() { r.stop(); r.objs.Close() })
	return r
}

// commit commits what txn has so far, takes it in, and returns what it did to the
// file, nil if nothing. Then txn is a new transaction.
func (r *reader) commit(t *testing.T, txn *writing) *delta {
	t.Helper()
	tid, oids := txn.commit()
	clear(txn.pending)
	return r.h.take(t, tid, oids).deltaOf(r.f)
}

// since returns what may have changed after step i.
func (r *reader) since(i int) []int64 {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	return r.f.blocks.ChangedSince(r.s.steps[i].tid)
}

// TestRevisionsOfOneGrowingBucket looks at all revisions of a bucket, with
// history known from its first tree on: what did not change since then has that
// for an upper bound.
func TestRevisionsOfOneGrowingBucket(t *testing.T) {
	s := told(t, "T/B2:b,3:c", "T/B2:b,3:c,4:d", "T/B2:b,3:e,4:d", "T/B2:b,3:e,4:f", "T/B2:b,3:g,4:f")
	for _, served := range []uint{0, 7} {
		r := s.follow(t, 1)
		r.h.revs.SetFloor(s.steps[1].tid)
		require.NoError(t, r.serve([]int64{2, 3, 4}, served))
		for r.at < 5 {
			require.NoError(t, r.next())
		}
		for blk, revs := range map[int64][]int{2: {1, 1, 1, 1, 1}, 3: {1, 1, 3, 3, 5}, 4: {1, 2, 2, 4, 4}} {
			for i, want := range revs {
				rev, err := r.f.BlkRevAt(t.Context(), blk, s.steps[i+1].tid)
				require.NoError(t, err)
				require.Equal(t, versions.Rev{Tid: s.steps[want].tid, Exact: want > 1}, rev, "block %d after step %d", blk, i+1)
			}
		}
	}
}

// TestForgottenPastLeavesTheRest forgets transactions one by one.
func TestForgottenPastLeavesTheRest(t *testing.T) {
	s := told(t, "T/B:", "T/B1:a", "T2/B1:a-B2:b", "T/B2:b")
	for cut := 1; cut <= 4; cut++ {
		r := s.follow(t, 1)
		require.NoError(t, r.serve([]int64{1, 2}, 3))
		for r.at < 4 {
			require.NoError(t, r.next())
		}
		r.objs.Forget(s.steps[cut].tid)
		require.Equal(t, s.steps[cut].tid, r.objs.Tail())
		require.NoError(t, r.check([]int64{0, 1, 2, 3}, cut))
	}
}

// TestChangedSinceTellsServedBlocksOnly also wants that what it told once stays
// as it is.
func TestChangedSinceTellsServedBlocksOnly(t *testing.T) {
	s := told(t, "T2/B1:a-B2:f", "T2/B1:b-B2:g", "T2/B1:c-B2:h")
	r := s.follow(t, 1)
	require.NoError(t, r.serve([]int64{2}, 1))
	require.NoError(t, r.next())
	require.NoError(t, r.next())
	early := r.since(1)
	require.Equal(t, []int64{2}, early)
	require.Equal(t, []int64{2}, r.since(2))
	require.Empty(t, r.since(3))
	require.NoError(t, r.serve([]int64{1}, 1))
	require.Equal(t, []int64{2}, early)
	require.Equal(t, []int64{1, 2}, r.since(1))
	require.Equal(t, []int64{1, 2}, r.since(2))
	require.Empty(t, r.since(3))
}

// TestBlocksThatAreNotServedAreNeverTold has blocks that change next to the only
// one that is served.
func TestBlocksThatAreNotServedAreNeverTold(t *testing.T) {
	s := told(t, "T/B0:a,1:b,2:c", "T/B0:d,1:e,2:c c", " cde", " ce")
	r := s.follow(t, 1)
	require.NoError(t, r.serve([]int64{0}, 1))
	for r.at < 4 {
		require.NoError(t, r.next()) // exactly block 0, and not at the last step
	}
	require.Equal(t, []int64{0}, r.since(1))
	require.Equal(t, []int64{0}, r.since(2))
	require.Empty(t, r.since(3))
}

// TestFileIsFollowedThroughDeletion follows a file that is created, deleted and
// created again, with all of its blocks served.
func TestFileIsFollowedThroughDeletion(t *testing.T) {
	s := newStory(topology.Writer{})
	for _, transaction := range []string{
		"T/B0:a", "T/B0:a,1:a,2:b a", " c", "T/B0:a,1:a,2:c ab", "T/B0:a", "T/B0:a,5:i", "T/B0:a,5:e", " i",
		"-", "+", "T/B0:a,1:a,5:e,6:i,7:d,8:e acefghij", " d",
		"-", "T/B0:a", "+", "T/B0:a,2:i,3:c,5:d,9:c abcdefghi", "T/B0:j,1:d,2:h,3:c,5:g,6:h,7:c,9:h defhj",
	} {
		switch text, changed, _ := strings.Cut(transaction, " "); text {
		case "-", "+":
			s.tellFile(text == "+")
		default:
			require.NoError(t, s.tell(text, changed))
		}
	}
	blks := blocksOf(s.steps)
	r := s.follow(t, 0)
	first := 0
	for r.at < len(s.steps)-1 {
		require.NoError(t, r.serve(blks, ^uint(0)))
		require.NoError(t, r.next())
		for s.steps[r.at].gone {
			require.Zero(t, r.h.sizes())
			r.at++
			r.h.take(t, s.steps[r.at].tid, s.steps[r.at].oids)
			if first = r.at; !s.steps[r.at].gone {
				require.NoError(t, r.open())
			}
		}
		require.NoError(t, r.check(blks, first))
	}
}

// TestSizeIsFoundAgainAfterDamage has a node that cannot be decoded, and that
// nothing but the damaged tree leads to, until it is stored anew. A file that
// leaves while it is damaged is forgotten.
func TestSizeIsFoundAgainAfterDamage(t *testing.T) {
	s := told(t, "T/B0:a,1:b")
	r := s.follow(t, 1)
	require.NoError(t, r.serve([]int64{0, 1}, 3))
	txn := s.db.begin()
	leaf := txn.New()
	txn.Store(s.file.Root, btree.EncodeTree(btree.LO, false, []zodb.Oid{leaf}, nil, leaf))
	txn.Store(leaf, []byte("junk"))
	d := r.commit(t, txn)
	require.Error(t, d.broken)
	require.Zero(t, len(keysServed(r.f)))
	require.Nil(t, r.commit(t, txn), "of others")

	txn.Store(leaf, btree.EncodeBucket(btree.LO, []int64{6}, []btree.Ref{s.file.Values("a")}, 0))
	d = r.commit(t, txn)
	require.NotNil(t, d)
	require.NoError(t, d.broken)
	require.True(t, d.touched())
	require.Equal(t, int64(7*storyBlkSize), r.f.blocks.Size)
	require.Nil(t, r.commit(t, txn), "of others")
	require.Empty(t, r.h.broken)

	txn.Store(leaf, []byte("junk"))
	require.Error(t, r.commit(t, txn).broken)
	txn.Delete(s.file.Oid)
	require.Error(t, r.commit(t, txn).fence)
	require.Empty(t, r.h.broken)
}

// TestFileWithOtherBlockSizeIsFenced wants that nothing of it counts as served
// any longer.
func TestFileWithOtherBlockSizeIsFenced(t *testing.T) {
	s := told(t, "T/B0:a,1:b")
	r := s.follow(t, 1)
	require.NoError(t, r.serve([]int64{0, 1}, 3))
	txn := s.db.begin()
	txn.Store(s.file.Oid, bigfile.EncodeFile(&bigfile.File{BlkSize: 2 * storyBlkSize, Table: s.file.Root}))
	require.Error(t, r.commit(t, txn).fence)
	require.Zero(t, len(keysServed(r.f)))
}

// TestRoutesAreSharedByTheBlocksOfALeaf counts the loads: after a walk back for
// one block of a busy leaf those for its neighbours need none of old versions.
// It is all forgotten when the floor moves.
func TestRoutesAreSharedByTheBlocksOfALeaf(t *testing.T) {
	const stored = 100
	b := newBenchOf(t, keysPerLeaf, stored, 0)
	loads := func(blk int64) int {
		before := b.objs.CacheStats().Misses
		rev, err := b.h.revs.At(t.Context(), gridFile, blk, b.tid)
		require.NoError(t, err)
		require.Equal(t, versions.Rev{Tid: gridStart, Exact: false}, rev)
		return int(b.objs.CacheStats().Misses - before)
	}
	require.Greater(t, loads(1), stored)
	for blk := range int64(10) {
		require.Less(t, loads(blk+1), 20)
	}
	b.h.revs.SetFloor(gridStart)
	require.Greater(t, loads(1), stored)
}
