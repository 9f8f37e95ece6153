package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEndIsBounded, whatever of a server does not end; and nothing is left out as
// long as all goes well.
func TestEndIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var order []string
		noted := func(what string, wait func()) step {
			return step{what, func() { wait(); order = append(order, what) }}
		}
		start := time.Now()
		(&server{}).end(cancel, []step{noted("a", func() { <-ctx.Done() }), noted("b", func() { time.Sleep(time.Millisecond) })})
		require.Equal(t, []string{"a", "b"}, order)
		require.Less(t, time.Since(start), endPatience)

		stuck := make(chan struct{})
		start = time.Now()
		(&server{}).end(cancel, []step{noted("c", func() { <-stuck }), noted("d", func() {})})
		require.Equal(t, []string{"a", "b"}, order)
		require.Equal(t, 2*endPatience, time.Since(start))
		close(stuck)
		synctest.Wait()
		require.Equal(t, []string{"a", "b", "c", "d"}, order)
	})
}

// TestUnusedFor: neither clients nor open files let it begin, and only after there has
// been a client.
func TestUnusedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := newUsage()
		unused := func() bool { return u.unusedFor(time.Now(), time.Second) }
		time.Sleep(time.Hour)
		u.opened(+1)
		u.opened(-1)
		require.False(t, unused(), "nobody has joined yet")
		u.joined(+1)
		u.opened(+1)
		time.Sleep(time.Hour)
		require.False(t, unused())
		u.joined(-1)
		time.Sleep(time.Hour)
		require.False(t, unused(), "something is open")
		u.opened(-1)
		time.Sleep(time.Second / 2)
		require.False(t, unused())
		time.Sleep(time.Second / 2)
		require.True(t, unused())
		u.joined(+1)
		u.joined(-1)
		require.False(t, unused(), "somebody was there in between")
		time.Sleep(time.Second)
		u.used(time.Now())
		require.False(t, unused())
		time.Sleep(time.Second)
		require.True(t, unused())
	})
}
