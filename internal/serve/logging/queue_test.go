package logging

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func testNote(lost, _ int) []byte { return fmt.Appendf(nil, "lost %d\n", lost) }

// checkLines requires that text is the lines 0, 1, ... in order, where those that are
// missing are told, and returns the number of the next.
func checkLines(text string) (next int, err error) {
	for line := range strings.Lines(text) {
		var n int
		if _, err := fmt.Sscanf(line, "lost %d\n", &n); err == nil {
			next += n
			continue
		}
		if _, err := fmt.Sscanf(line, "line %d ", &n); err != nil {
			return next, fmt.Errorf("strange line %q", line)
		}
		if n != next {
			return next, fmt.Errorf("line %d where %d was expected", n, next)
		}
		next++
	}
	return next, nil
}

// TestQueueTellsEveryLineOrThatItIsLost: whatever is put and taken in whatever
// pieces, lines come whole and in order, the queue stays within its bound, and
// those that are missing are counted where they are missing.
func TestQueueTellsEveryLineOrThatItIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := NewQueue(rapid.IntRange(20, 300).Draw(t, "max"), testNote)
		var got bytes.Buffer
		put := 0
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "put") {
				q.Put(fmt.Appendf(nil, "line %d %s\n", put, strings.Repeat("x", rapid.IntRange(0, 40).Draw(t, "length"))))
				put++
			} else {
				dest := make([]byte, rapid.IntRange(1, 100).Draw(t, "dest"))
				got.Write(dest[:q.Take(dest)])
			}
			if q.data.Len() > q.max+len(testNote(put, 0)) {
				t.Fatalf("%d bytes wait, of %d", q.data.Len(), q.max)
			}
		}
		dest := make([]byte, 1000)
		for n := q.Take(dest); n > 0; n = q.Take(dest) {
			got.Write(dest[:n])
		}
		if told, err := checkLines(got.String()); err != nil || told != put {
			t.Fatalf("%d lines were put and %d are told of: %v\n%s", put, told, err, got.String())
		}
	})
}

// TestLogQueueLosesWhatIsNotTaken, tells how much, and goes on.
func TestLogQueueLosesWhatIsNotTaken(t *testing.T) {
	q := NewQueue(20, lostLog)
	for _, line := range []string{"first line\n", "second\n", "third line\n", "fourth\n"} {
		q.Put([]byte(line))
	}
	buf := make([]byte, 1000)
	require.Equal(t, "first line\nsecond\n", string(buf[:q.Take(buf)]))
	q.Put([]byte("fifth\n"))
	lost := regexp.MustCompile(`^W\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ logqueue\.go] 18 bytes of the log are lost.*\nfifth\n$`)
	require.Regexp(t, lost, string(buf[:q.Take(buf)]))
	q.Put([]byte(strings.Repeat("x", 21)))
	q.End()
	require.True(t, q.Wait())
	require.Contains(t, string(buf[:q.Take(buf)]), " 21 bytes of the log are lost")
	require.False(t, q.Wait())
	require.Zero(t, q.Take(buf))
}

// TestLogQueueHandsOnEverything, in order, to a reader that keeps up, and ends.
func TestLogQueueHandsOnEverything(t *testing.T) {
	r, w := io.Pipe()
	q := NewQueue(maxQueue, lostLog)
	go fill(q, r)
	var want, got strings.Builder
	go func() {
		for range 1000 {
			_, _ = io.WriteString(io.MultiWriter(w, &want), "a line\n")
		}
		w.Close()
	}()
	buf := make([]byte, 100)
	for q.Wait() {
		got.Write(buf[:q.Take(buf)])
	}
	require.Equal(t, want.String(), got.String())
}
