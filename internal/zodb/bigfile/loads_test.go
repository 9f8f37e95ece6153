package bigfile

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWaitBearsWhatIsBegunMeanwhile: a server that ends waits for its loads, while
// clients of its mount, which was detached, still ask for more.
func TestWaitBearsWhatIsBegunMeanwhile(t *testing.T) {
	l := NewLoader(t.Context(), 1)
	var ran atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5000 {
				l.Go(func() { ran.Add(1) })
			}
		})
		all.Go(func() {
			for range 5000 {
				l.Wait()
			}
		})
	}
	all.Wait()
	l.Wait()
	require.EqualValues(t, 4*5000, ran.Load())
}

// TestOneReleaseTooManyIsFound, and a block is given back once.
func TestOneReleaseTooManyIsFound(t *testing.T) {
	store := &aheadStore{released: make(map[aheadKey]int)}
	block := &counted{store: store}
	loads := NewLoads(NewLoader(t.Context(), 1), func(context.Context, int64) (*counted, error) { return block, nil })
	ld, _ := loads.Acquire(1)
	<-ld.Done()
	loads.loader.Wait()
	ld.Retain()
	ld.Release()
	require.Zero(t, store.released[block.key])
	ld.Release()
	require.Panics(t, ld.Release)
	require.Panics(t, ld.Retain)
	require.Equal(t, 1, store.released[block.key])
	require.Zero(t, loads.Len())

	reply := &Reply{}
	reply.Own(block)
	reply.Release()
	require.Panics(t, reply.Release)
	require.Equal(t, 2, store.released[block.key])
}
