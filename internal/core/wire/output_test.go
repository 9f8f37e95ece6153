package wire

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// takeAll takes what is there, in pieces of up to n bytes.
func takeAll(t *testing.T, o *Output, n int) (text string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dest := make([]byte, n)
	for {
		n, err := o.Take(ctx, dest)
		if n == 0 || err != nil {
			return text
		}
		text += string(dest[:n])
	}
}

func TestOutputKeepsOrderAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOutput()
		dest := make([]byte, 3)
		_, err := o.Take(shortly(t), dest)
		require.ErrorIs(t, err, context.DeadlineExceeded, "there is nothing yet")
		for i := range 5 {
			require.NoError(t, o.Put(t.Context(), fmt.Sprintf("line %d\n", i)))
		}
		require.Equal(t, "line 0\nline 1\nline 2\nline 3\nline 4\n", takeAll(t, o, 3))
		go func() {
			time.Sleep(time.Hour)
			o.Say("last\n")
			o.End()
		}()
		n, err := o.Take(t.Context(), dest)
		require.NoError(t, err)
		require.Equal(t, "las", string(dest[:n]))
		require.Equal(t, "t\n", takeAll(t, o, 100))
		for range 2 {
			n, err = o.Take(t.Context(), dest)
			require.NoError(t, err)
			require.Zero(t, n, "the end, for good")
		}
		o.Say("more\n")
		require.NoError(t, o.Put(t.Context(), "more\n"))
		require.Empty(t, takeAll(t, o, 100))
	})
}

// shortly returns a context that ends soon.
func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestOutputIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOutput()
		line := strings.Repeat("x", 255) + "\n"
		for range MaxOutput / len(line) {
			require.NoError(t, o.Put(t.Context(), line))
		}
		require.ErrorIs(t, o.Put(shortly(t), line), context.DeadlineExceeded)
		require.Len(t, o.data, MaxOutput)
		var puts sync.WaitGroup
		for range 10 {
			puts.Go(func() { require.NoError(t, o.Put(t.Context(), line)) })
		}
		synctest.Wait()
		dest := make([]byte, 3*len(line))
		_, err := o.Take(t.Context(), dest)
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, o.data, MaxOutput, "three of them have room")
		o.Say("")
		o.End()
		puts.Wait() // the end frees the others
		require.Empty(t, takeAll(t, o, 100))
	})
}

// TestOutputDoesNotCutALineInTheEnd: a client that reads little at a time has
// begun a line. The rest of the line comes next, and only then the last one.
func TestOutputDoesNotCutALineInTheEnd(t *testing.T) {
	o := NewOutput()
	for _, line := range []string{"2 pin a\n", "4 pin b\n"} {
		require.NoError(t, o.Put(t.Context(), line))
	}
	dest := make([]byte, 5)
	n, err := o.Take(t.Context(), dest)
	require.NoError(t, err)
	o.Say("0 fatal: why\n")
	o.End()
	text := string(dest[:n]) + takeAll(t, o, 5)
	require.True(t, strings.HasPrefix(text, "2 pin a\n") && strings.HasSuffix(text, "\n0 fatal: why\n"), "%q", text)
}

// TestWhoWaitsForAnOutputLearnsOfItsEnd, in each of its two steps.
func TestWhoWaitsForAnOutputLearnsOfItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOutput()
		line := strings.Repeat("x", MaxOutput-1) + "\n"
		require.NoError(t, o.Put(t.Context(), line))
		put, taken := make(chan error, 1), make(chan int, 1)
		go func() { put <- o.Put(t.Context(), line) }()
		synctest.Wait()
		require.Empty(t, put)
		o.Say("") // nothing of the line was taken
		synctest.Wait()
		require.Len(t, put, 1)
		go func() {
			n, err := o.Take(t.Context(), make([]byte, 1))
			require.NoError(t, err)
			taken <- n
		}()
		synctest.Wait()
		require.Empty(t, taken)
		o.End()
		require.Zero(t, <-taken)
	})
}
