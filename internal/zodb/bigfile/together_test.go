package bigfile

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// acquire acquires blocks [from, to) for one READ.
func (f *aheadFile) acquire(from, to int64) (lds []*Load[aheadKey, *counted], first []bool) {
	var extents []Extent
	for blk := from; blk < to; blk++ {
		extents = append(extents, Extent{blk, 0, f.window.BlkSize})
	}
	lds, first = make([]*Load[aheadKey, *counted], len(extents)), make([]bool, len(extents))
	f.loads.AcquireAll(extents, f.window.Key, lds, first)
	return lds, first
}

// TestBlocksThatAReadWantsAreBegunTogether, but those that are there already, and not so many
// that bytes would be waited for instead of the network.
func TestBlocksThatAReadWantsAreBegunTogether(t *testing.T) {
	for blksize, begun := range map[int64][]int{4096: {10}, togetherBytes / 4: {4, 4, 2}, togetherBytes / 3: {3, 3, 3}, togetherBytes/2 + 1: nil, 4 << 20: nil} {
		inBubble(t, func(t *testing.T, loader *Loader, together bool) {
			f := newAheadFile(t, loader, together, blksize, 100)
			there, _ := f.acquire(3, 4)
			lds, first := f.acquire(0, 11)
			for i, ld := range lds {
				value, err := ld.Wait(t.Context())
				require.NoError(t, err)
				require.Equal(t, aheadKey{int64(i), 0}, value.key)
				require.Equal(t, i != 3, first[i])
			}
			for _, ld := range append(lds, there...) {
				ld.Release()
			}
			synctest.Wait()
			if together {
				require.ElementsMatch(t, begun, f.begun)
			} else {
				require.Empty(t, f.begun)
			}
			require.Len(t, f.loaded, 11)
			f.requireHeld(0, 0)
		})
	}
}

// TestAcquireAllLeavesWhatIsAcquired: a READ that goes on with some new blocks.
func TestAcquireAllLeavesWhatIsAcquired(t *testing.T) {
	inBubble(t, func(t *testing.T, loader *Loader, together bool) {
		f := newAheadFile(t, loader, together, 4096, 100)
		lds, first := f.acquire(0, 4)
		kept, firstOfKept := lds[1], first[1]
		lds[2].Release()
		lds[2] = nil
		f.view = 1
		f.loads.AcquireAll([]Extent{{0, 0, 1}, {1, 0, 1}, {2, 0, 1}, {3, 0, 1}}, f.window.Key, lds, first)
		require.Same(t, kept, lds[1])
		require.Equal(t, firstOfKept, first[1])
		require.Equal(t, aheadKey{2, 1}, lds[2].Key)
		for _, ld := range lds {
			ld.Release()
		}
	})
}

// TestBlocksAheadAreBegunTogether when a reader is new; later there is one more at a time.
func TestBlocksAheadAreBegunTogether(t *testing.T) {
	inBubble(t, func(t *testing.T, loader *Loader, together bool) {
		f := newAheadFile(t, loader, together, 4096, 100)
		for blk := range int64(5) {
			f.read(blk)
		}
		f.requireHeld(5, 13)
		if together {
			require.Equal(t, []int{8}, f.begun)
		} else {
			require.Empty(t, f.begun)
		}
	})
}

// group is blocks that are begun together, by a Loader with one turn.
type group struct {
	*testing.T
	loader *Loader
	loads  *Loads[int, *counted]
	store  *aheadStore
}

func newGroup(t *testing.T, ctx context.Context, begin func(ctx context.Context, keys []int) []Begun[*counted]) *group {
	g := &group{T: t, loader: NewLoader(ctx, 1), store: &aheadStore{released: make(map[aheadKey]int)}}
	g.loads = NewLoads(g.loader, func(context.Context, int) (*counted, error) { return nil, errors.New("it was loaded alone") })
	db := mem.New()
	db.AnswerMany(true)
	g.loads.Together(db, 4096, begin)
	return g
}

// TestBlocksAreThereWhenTheirOwnChunksAre: those without chunks after the first step, all
// others in turns of their own, one after the other.
func TestBlocksAreThereWhenTheirOwnChunksAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *group
		gates, running := []chan struct{}{nil, make(chan struct{}), make(chan struct{})}, 0
		g = newGroup(t, t.Context(), func(_ context.Context, keys []int) []Begun[*counted] {
			all := make([]Begun[*counted], len(keys))
			for i, key := range keys {
				value := &counted{g.store, aheadKey{int64(key), 0}}
				if all[i].Value = value; gates[key] != nil {
					all[i] = Begun[*counted]{Rest: func(context.Context) (*counted, error) {
						running++
						<-gates[key]
						running--
						return value, nil
					}}
				}
			}
			return all
		})
		lds := g.loads.acquireAhead([]int{0, 1, 2})
		synctest.Wait()
		isDone := func(ld *Load[int, *counted]) bool { return ld.origin() == FromMemory }
		require.Equal(t, []bool{true, false, false}, []bool{isDone(lds[0]), isDone(lds[1]), isDone(lds[2])})
		require.Equal(t, 1, running)
		close(gates[1])
		close(gates[2])
		g.loader.Wait()
		for i, ld := range lds {
			value, err := ld.Wait(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, i, value.key.blk)
			ld.Release()
			require.Equal(t, 1, g.store.released[value.key])
		}
		require.Zero(t, g.loads.Len())
	})
}

// TestErrorOfABlockIsItsOwn, before its rest and in it.
func TestErrorOfABlockIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *group
		early, late := errors.New("early"), errors.New("late")
		g = newGroup(t, t.Context(), func(context.Context, []int) []Begun[*counted] {
			return []Begun[*counted]{
				{Err: early},
				{Rest: func(context.Context) (*counted, error) { return nil, late }},
				{Value: &counted{g.store, aheadKey{}}},
			}
		})
		lds := g.loads.acquireAhead([]int{0, 1, 2})
		for i, want := range []error{early, late, nil} {
			_, err := lds[i].Wait(t.Context())
			require.Equal(t, want, err)
			lds[i].Release()
		}
		g.loader.Wait()
		require.EqualValues(t, 2, g.loader.Stats().Failed)
	})
}

// TestBlocksBegunTogetherEndWithTheServer, in front of the first step and of their rest.
func TestBlocksBegunTogetherEndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		rest := func(ctx context.Context) (*counted, error) { <-ctx.Done(); return nil, ctx.Err() }
		g := newGroup(t, ctx, func(_ context.Context, keys []int) []Begun[*counted] {
			all := make([]Begun[*counted], len(keys))
			for i := range all {
				all[i].Rest = rest
			}
			return all
		})
		lds := g.loads.acquireAhead([]int{0, 1, 2})
		synctest.Wait()
		lds = append(lds, g.loads.acquireAhead([]int{3, 4})...)
		synctest.Wait()
		cancel()
		g.loader.Wait()
		for _, ld := range lds {
			_, err := ld.Wait(t.Context())
			require.ErrorIs(t, err, context.Canceled)
			ld.Release()
		}
		require.Zero(t, g.loads.Len())
	})
}

func TestThenAppliesToTheOutcome(t *testing.T) {
	mine := errors.New("mine")
	length := func(s string) int { return len(s) }
	require.Equal(t, Begun[int]{Value: 3}, Then(Begun[string]{Value: "abc"}, length))
	require.Equal(t, Begun[int]{Err: mine}, Then(Begun[string]{Err: mine}, length))
	for _, err := range []error{nil, mine} {
		b := Then(Begun[string]{Rest: func(context.Context) (string, error) { return "abc", err }}, length)
		n, got := b.Rest(t.Context())
		require.Equal(t, err, got)
		require.Equal(t, err == nil, n == 3)
	}
}
