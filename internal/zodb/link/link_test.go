package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// bench is a link of a protocol in lines: a request is its number and a text, and so is a
// reply.
type bench struct {
	*testing.T
	*Link[string]
	conn    net.Conn // the server's end
	in      *bufio.Scanner
	dropped []string
}

func inBubble(t *testing.T, test func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		b := &bench{T: t, conn: theirs, in: bufio.NewScanner(theirs)}
		b.Link = New(Config[string]{Conn: ours, Raw: ours, Drop: func(reply string) { b.dropped = append(b.dropped, reply) }})
		b.Start(b.read, func() { b.Ask(text("sign")) })
		test(b)
		require.NoError(t, b.Close())
		theirs.Close()
	})
}

func text(text string) Encode {
	return func(b []byte, id int64) []byte { return fmt.Appendf(b, "%d %s\n", id, text) }
}

func (b *bench) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var id int64
		var reply string
		if _, err := fmt.Sscan(lines.Text(), &id, &reply); err != nil {
			return err
		}
		if !b.Answer(id, reply, nil) {
			return errors.New("nobody has asked")
		}
	}
	return lines.Err()
}

// next returns the next request, as the server sees it.
func (b *bench) next() string {
	b.Helper()
	require.True(b, b.in.Scan())
	return b.in.Text()
}

func (b *bench) say(lines ...string) {
	b.Helper()
	_, err := io.WriteString(b.conn, strings.Join(lines, "\n")+"\n")
	require.NoError(b, err)
}

func TestRepliesFindTheirCalls(t *testing.T) {
	inBubble(t, func(b *bench) {
		var calls sync.WaitGroup
		for _, word := range []string{"a", "b", "c"} {
			calls.Go(func() {
				reply, err := b.Call(b.Context(), text(word))
				if err != nil || reply != word+"!" {
					b.Errorf("%s: %q, %v", word, reply, err)
				}
			})
		}
		replies := make([]string, 3)
		for i := range replies { // in the reverse order
			replies[2-i] = b.next() + "!"
		}
		b.say(replies...)
		calls.Wait()
		require.Zero(b, b.Calls())
	})
}

// A call that is given up is answered all the same. Its reply is dropped, and is none that
// nobody has asked for.
func TestCallsThatAreGivenUpAreAnsweredAllTheSame(t *testing.T) {
	inBubble(t, func(b *bench) {
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		c, err := b.Send(ctx, text("slow"))
		require.NoError(b, err)
		var late []string
		_, err = b.Wait(ctx, c, func(reply string, err error) { late = append(late, reply) })
		require.Equal(b, context.DeadlineExceeded, err)
		require.Equal(b, "1 slow", b.next())
		require.Equal(b, 1, b.Calls())
		b.say("1 late")
		synctest.Wait()
		require.Equal(b, []string{"late"}, late)
		require.Equal(b, []string{"late"}, b.dropped)
		require.Zero(b, b.Calls())
		require.NoError(b, b.Err())

		b.say("7 nothing")
		<-b.Done()
		require.EqualError(b, b.Err(), "nobody has asked")
	})
}

// A reply that has come is a reply, also if the link or the context ends in that moment.
func TestRepliesThatHaveComeAreNotLost(t *testing.T) {
	for range 100 {
		inBubble(t, func(b *bench) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			c, err := b.Send(ctx, text("x"))
			require.NoError(b, err)
			b.next()
			b.say("1 here")
			synctest.Wait()
			cancel()
			b.Fail(errors.New("cut"))
			reply, err := b.Wait(ctx, c, nil)
			require.NoError(b, err)
			require.Equal(b, "here", reply)
		})
	}
}

// Calls are bounded, and those beyond wait for their turn, their context or the end.
func TestCallsAreBounded(t *testing.T) {
	inBubble(t, func(b *bench) {
		go func() {
			_, _ = io.Copy(io.Discard, b.conn)
		}()
		for range MaxCalls {
			_, err := b.Send(b.Context(), text("x"))
			require.NoError(b, err)
		}
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		_, err := b.Send(ctx, text("one more"))
		require.Equal(b, context.DeadlineExceeded, err)
		_, err = b.Send(ctx, text("one more"))
		require.Equal(b, context.DeadlineExceeded, err)
		sent := make(chan error, 2)
		go func() {
			_, err := b.Send(b.Context(), text("one more"))
			sent <- err
		}()
		synctest.Wait()
		require.Empty(b, sent)
		b.say("5 done")
		require.NoError(b, <-sent)
		go func() {
			_, err := b.Send(b.Context(), text("one more"))
			sent <- err
		}()
		synctest.Wait()
		b.Fail(errors.New("cut"))
		require.EqualError(b, <-sent, "cut")
	})
}

// A caller never waits for a server that does not read.
func TestRequestsAreQueued(t *testing.T) {
	inBubble(t, func(b *bench) {
		for range 100 {
			_, err := b.Send(b.Context(), text(strings.Repeat("x", 10_000)))
			require.NoError(b, err)
		}
		b.Tell(func(buf []byte) []byte { return append(buf, "told\n"...) })
		for i := range 100 {
			require.True(b, strings.HasPrefix(b.next(), fmt.Sprint(1+i)+" x"))
		}
		require.Equal(b, "told", b.next())
	})
}

// A quiet server is asked for a sign after 10 s, and is taken for gone after 25.
func TestQuietServersAreAskedAndGivenUp(t *testing.T) {
	inBubble(t, func(b *bench) {
		began := time.Now()
		require.Equal(b, "1 sign", b.next())
		require.Equal(b, 2*usualTick, time.Since(began))
		b.say("1 there")
		require.Equal(b, "2 sign", b.next())
		require.Less(b, time.Since(began), 6*usualTick)
		began = time.Now()
		<-b.Done()
		require.Equal(b, 3*usualTick, time.Since(began))
		require.ErrorContains(b, b.Err(), "the server has not answered for 25s")
	})
	inBubble(t, func(b *bench) {
		b.Patience(0)
		b.next()
		time.Sleep(time.Hour)
		require.NoError(b, b.Err())
	})
}

// Every byte is a sign of life.
func TestSlowReplyIsASignOfLife(t *testing.T) {
	inBubble(t, func(b *bench) {
		go func() {
			_, _ = io.Copy(io.Discard, b.conn)
		}()
		c, err := b.Send(b.Context(), text("x"))
		require.NoError(b, err)
		for _, piece := range strings.Split("1 a-reply-in-pieces\n", "") {
			time.Sleep(4 * usualTick)
			_, err := io.WriteString(b.conn, piece)
			require.NoError(b, err)
		}
		reply, err := b.Wait(b.Context(), c, nil)
		require.NoError(b, err)
		require.Equal(b, "a-reply-in-pieces", reply)
	})
}

func TestEndOfTheServerIsToldToAllCalls(t *testing.T) {
	inBubble(t, func(b *bench) {
		failed := make(chan error, 10)
		for range 10 {
			go func() {
				_, err := b.Call(b.Context(), text("x"))
				failed <- err
			}()
		}
		b.next()
		b.conn.Close()
		for range 10 {
			require.Error(b, <-failed)
		}
		require.Error(b, b.Err())
		_, err := b.Call(b.Context(), text("x"))
		require.Equal(b, b.Err(), err)
	})
	inBubble(t, func(b *bench) {
		require.NoError(b, b.Close())
		require.NoError(b, b.Close())
		_, err := b.Call(b.Context(), text("x"))
		require.Equal(b, storage.ErrClosed, err)
	})
}
