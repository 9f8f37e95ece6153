package flight

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestCallersShareOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup[string, int](t.Context())
		defer g.Close()
		var calls atomic.Int32
		gate := make(chan struct{})
		results := make(chan int, 10)
		for range 10 {
			go func() {
				v, err := g.Do(t.Context(), "k", func(context.Context) (int, error) {
					calls.Add(1)
					<-gate
					return 7, nil
				})
				require.NoError(t, err)
				results <- v
			}()
		}
		synctest.Wait() // all ten wait for the one call
		close(gate)
		for range 10 {
			require.Equal(t, 7, <-results)
		}
		require.EqualValues(t, 1, calls.Load())
	})
}

func TestCallerWhoGivesUpLeavesTheCallToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup[string, int](t.Context())
		defer g.Close()
		gate := make(chan struct{})
		fn := func(ctx context.Context) (int, error) {
			select {
			case <-gate:
				return 7, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		first, giveUp := context.WithCancel(t.Context())
		firstErr := make(chan error)
		go func() {
			_, err := g.Do(first, "k", fn)
			firstErr <- err
		}()
		synctest.Wait()
		second := make(chan int)
		go func() {
			v, err := g.Do(t.Context(), "k", fn)
			require.NoError(t, err)
			second <- v
		}()
		synctest.Wait()
		giveUp()
		require.ErrorIs(t, <-firstErr, context.Canceled)
		close(gate)
		require.Equal(t, 7, <-second)
	})
}

func TestCloseEndsCallsAndRefusesNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup[int, int](t.Context())
		answer := make(chan error)
		go func() {
			_, err := g.Do(t.Context(), 1, func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, errors.New("ended")
			})
			answer <- err
		}()
		synctest.Wait()
		g.Close()
		require.EqualError(t, <-answer, "ended")
		_, err := g.Do(t.Context(), 2, nil)
		require.ErrorIs(t, err, ErrClosed)
	})
}
