package isolation

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// stuck is a client that has not acknowledged a pin, for which a READ waits.
type stuck struct {
	*scene
	proc     *actor
	link     *Link
	answered func() int // 1 when the READ is
	start    time.Time  // of its waiting
}

// inStuck has p not acknowledge the pin of block 0.
func inStuck(t *testing.T, p func() *actor, test func(s *stuck)) {
	inScene(t, 1, func(s *scene) {
		c := &stuck{scene: s, proc: p()}
		c.link = s.open(c.proc)
		s.say(c.link, "1 watch %s @%s", s.file.Oid, s.tid)
		require.Equal(t, []string{"1 ok"}, s.hear(c.link))
		s.commit(0)
		c.answered, c.start = s.read(0, 1), time.Now()
		require.Len(t, s.pins(s.hear(c.link), 0, 1), 1)
		require.Zero(t, c.answered())
		test(c)
	})
}

// until lets time pass until a moment after the READ began to wait.
func (c *stuck) until(d time.Duration) {
	time.Sleep(time.Until(c.start.Add(d)))
	synctest.Wait()
}

// requireEnd requires that the client has seen the end of the link, or that it waits.
func (c *stuck) requireEnd(ended bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), time.Millisecond)
	defer cancel()
	_, err := c.link.Read(ctx, make([]byte, 1))
	if ended {
		require.ErrorIs(c, err, io.EOF)
	} else {
		require.Error(c, err)
		require.NotErrorIs(c, err, io.EOF)
	}
}

// signals returns what the process was sent, with the time from when the READ waited.
func (c *stuck) signals() (got []string) {
	c.proc.mu.Lock()
	defer c.proc.mu.Unlock()
	for i, sig := range c.proc.got {
		got = append(got, fmt.Sprintf("%s after %s", unix.SignalName(sig), c.proc.at[i].Sub(c.start).Round(10*time.Millisecond)))
	}
	return got
}
