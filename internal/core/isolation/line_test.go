package isolation

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/core/wire"
)

// TestLinesOfAnyLengthAreTakenUpToABound, in whatever pieces, and what is kept of one
// that is longer is bounded.
func TestLinesOfAnyLengthAreTakenUpToABound(t *testing.T) {
	inScene(t, 1, func(s *scene) {
		const maxLine = wire.MaxLine
		line := func(n int) string { return "1 " + strings.Repeat("x", n-3) + "\n" }
		for i, test := range []struct {
			pieces []string
			down   bool
		}{
			{[]string{line(maxLine)}, false},
			{[]string{line(maxLine)[:maxLine-1], "\n"}, false},
			{[]string{line(maxLine)[:maxLine-1] + "x", "\n"}, true},
			{[]string{line(maxLine + 1)}, true},
			{[]string{line(maxLine + 1)[:maxLine+1]}, true},
			{[]string{strings.Repeat("x", 1<<20)}, true},
			{[]string{"1 x\n" + line(maxLine+1)}, true},
		} {
			l := s.open(newActor(i))
			for _, piece := range test.pieces {
				_ = l.Write([]byte(piece))
				require.LessOrEqual(s, len(l.input), maxLine, "case %d", i)
			}
			text := strings.Join(s.hear(l), "\n")
			require.Equal(s, test.down, strings.Contains(text, "0 error: invalid frame: the line is longer"), "case %d: %q", i, text)
			require.Equal(s, test.down, l.Write([]byte("1 x\n")) != nil, "case %d", i)
			l.Release()
		}
	})
}

// TestNobodyIsToldWhatFollowsBye, not even the log.
func TestNobodyIsToldWhatFollowsBye(t *testing.T) {
	inScene(t, 1, func(s *scene) {
		l := s.open(newActor(7))
		s.say(l, "1 bye\nzzz\n2 ack\n3 watch")
		require.Empty(s, s.hear(l))
		require.Empty(s, s.warned)
		l = s.open(newActor(8))
		s.say(l, "0 ack") // no pin has that number
		require.Contains(s, strings.Join(s.hear(l), ""), "0: reply on unexpected stream")
		require.Len(s, s.warned, 1)
	})
}

// TestClientThatDoesNotReadIsCutOff when a reply has waited for room for as long as a
// pin may, and ended if it is a pin.
func TestClientThatDoesNotReadIsCutOff(t *testing.T) {
	for _, pin := range []bool{false, true} {
		inStuck(t, func() *actor { return newActor(7) }, func(c *stuck) {
			p := newActor(8)
			l := c.open(p)
			if pin {
				c.say(l, "1 watch %s @%s", c.file.Oid, c.tid)
				require.Equal(c, []string{"1 ok"}, c.hear(l))
			}
			for l.out.TryPut(strings.Repeat("x", 1023) + "\n") {
			}
			c.say(c.link, "9 bye")
			if pin {
				c.commit(0)
				c.read(0, 1)
			} else {
				c.say(l, "1 x")
			}
			time.Sleep(sceneTimeout - time.Millisecond)
			synctest.Wait()
			require.NoError(c, l.ctx.Err())
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			require.Error(c, l.ctx.Err())
			text := strings.Join(c.hear(l), "\n")
			if !pin {
				require.Contains(c, text, "0 error: client does not read")
				ctx, cancel := context.WithTimeout(c.Context(), time.Second)
				defer cancel()
				_, err := l.Read(ctx, make([]byte, 1))
				require.ErrorIs(c, err, io.EOF)
				return
			}
			require.Contains(c, text, "0 fatal: pin #0 @0000000000000002: sendReq: send .2: context deadline exceeded")
			require.NotEmpty(c, p.got)
			close(p.dead)
		})
	}
}
