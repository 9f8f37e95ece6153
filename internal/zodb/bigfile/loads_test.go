package bigfile

import (
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
