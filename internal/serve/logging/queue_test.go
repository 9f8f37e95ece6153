package logging

import (
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLogQueueLosesWhatIsNotTaken, tells how much, and goes on.
func TestLogQueueLosesWhatIsNotTaken(t *testing.T) {
	q := newQueue(20)
	for _, line := range []string{"first line\n", "second\n", "third line\n", "fourth\n"} {
		q.put([]byte(line), false)
	}
	buf := make([]byte, 1000)
	require.Equal(t, "first line\nsecond\n", string(buf[:q.take(buf)]))
	q.put([]byte("fifth\n"), false)
	lost := regexp.MustCompile(`^W\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ logqueue\.go] 18 bytes of the log are lost.*\nfifth\n$`)
	require.Regexp(t, lost, string(buf[:q.take(buf)]))
	q.put([]byte(strings.Repeat("x", 21)), true)
	require.Contains(t, string(buf[:q.take(buf)]), " 21 bytes of the log are lost")
	require.Zero(t, q.take(buf))
}

// TestLogQueueHandsOnEverything, in order, to a reader that keeps up, and ends.
func TestLogQueueHandsOnEverything(t *testing.T) {
	r, w := io.Pipe()
	q := newQueue(maxQueue)
	go q.fill(r)
	var want, got strings.Builder
	go func() {
		for range 1000 {
			_, _ = io.WriteString(io.MultiWriter(w, &want), "a line\n")
		}
		w.Close()
	}()
	buf := make([]byte, 100)
	for n := q.take(buf); n > 0; n = q.take(buf) {
		got.Write(buf[:n])
	}
	require.Equal(t, want.String(), got.String())
}
