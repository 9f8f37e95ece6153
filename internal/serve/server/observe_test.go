package server

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/serve/mount"
)

// TestProbeAsksOnce: however many want to know, and seldom while there is no answer.
func TestProbeAsksOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var answer error
		asked := 0
		p := newProbe(func(context.Context) error {
			asked++
			time.Sleep(time.Millisecond)
			return answer
		})
		expect := func(want int) {
			t.Helper()
			asked = 0
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() { require.Equal(t, answer, p.check(t.Context())) })
			}
			all.Wait()
			require.Equal(t, want, asked)
		}
		expect(1)
		expect(0)
		time.Sleep(2 * probeFresh)
		answer = errors.New("no")
		expect(1)
		answer = &mount.StuckError{}
		time.Sleep(2 * probeFresh)
		start := time.Now()
		for total := 0; total < 20; total += asked {
			asked = 0
			_ = p.check(t.Context())
			time.Sleep(100 * time.Millisecond)
		}
		require.Greater(t, time.Since(start), 14*maxProbeStuck, "20 children that are stuck")
		answer = nil
		time.Sleep(maxProbeStuck)
		expect(1)
		time.Sleep(2 * probeFresh)
		expect(1)
	})
}

// TestProbeStops: nothing is asked after it, and nobody waits for nothing.
func TestProbeStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asking atomic.Bool
		p := newProbe(func(context.Context) error {
			asking.Store(true)
			time.Sleep(time.Second)
			asking.Store(false)
			return nil
		})
		go p.check(t.Context())
		synctest.Wait()
		require.True(t, asking.Load())
		p.stop()
		require.False(t, asking.Load())
		require.ErrorContains(t, p.check(t.Context()), "stopping")
	})
}

// TestSocketsOfTheDeadAreReplaced, but neither what somebody listens at nor what is no
// socket.
func TestSocketsOfTheDeadAreReplaced(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "s") // short enough for a socket
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	address, err := ParseAddress("unix:" + path)
	require.NoError(t, err)
	l, err := address.listen("--x")
	require.NoError(t, err)
	_, err = address.listen("--x")
	require.ErrorContains(t, err, "--x: somebody listens at unix:"+path+" already")
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	require.FileExists(t, filepath.Clean(path))
	l, err = address.listen("--x")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoFileExists(t, path)
	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err = address.listen("--x")
	require.Error(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "precious", string(content))
}
