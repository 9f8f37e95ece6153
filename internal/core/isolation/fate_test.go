package isolation

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/wire"
)

// TestClientThatIsSlowIsEnded by the signal of memory that cannot be had, and if that
// is not enough for good, within a third of the time for a pin. The READ goes on when
// it is known not to run any more. If it does, the READ never does.
func TestClientThatIsSlowIsEnded(t *testing.T) {
	const T = sceneTimeout
	bus := fmt.Sprintf("SIGBUS after %s", T)
	kill := fmt.Sprintf("SIGKILL after %s", T+T/6)
	for _, test := range []struct {
		name    string
		endsBy  []syscall.Signal
		doomed  bool
		signals []string
		after   time.Duration // the READ is answered
		lives   bool          // it never is
	}{
		{"ends", []syscall.Signal{syscall.SIGBUS}, false, []string{bus}, T, false},
		{"catches", []syscall.Signal{syscall.SIGKILL}, false, []string{bus, kill}, T + T/6, false},
		{"is doomed", nil, true, []string{bus, kill}, T + T/3, false},
		{"lives", nil, false, []string{bus, kill}, T + T/3, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			process := func() *actor {
				p := newActor(7, test.endsBy...)
				p.doomed = test.doomed
				return p
			}
			inStuck(t, process, func(c *stuck) {
				c.until(T - time.Second)
				require.Empty(c, c.signals())
				for at := T; at < test.after; at += (test.after - T) / 5 {
					c.until(at + 10*time.Millisecond)
					require.Zero(c, c.answered())
					require.Error(c, c.kernel.ReadPages(c.Context(), nil, 7, 1, 2), "a READ of its own would keep it")
					require.NoError(c, c.link.Write([]byte("7 bye\n")), "it learns nothing that it could run away from")
					if at == T {
						text := strings.Join(c.hear(c.link), "\n")
						require.Contains(c, text, "0 fatal: pin #0 @0000000000000001: sendReq: waiting for reply: context deadline exceeded")
					}
					c.requireEnd(false)
				}
				c.until(test.after + 100*time.Millisecond)
				require.Equal(c, test.signals, c.signals())
				_ = c.hear(c.link)
				c.requireEnd(true)
				if test.lives {
					require.Len(c, c.fatal, 1)
					c.until(time.Hour)
					require.Zero(c, c.answered(), "it may see the page")
					require.Empty(c, c.killed)
					return
				}
				require.Equal(c, 1, c.answered())
				require.Empty(c, c.fatal)
				require.Len(c, c.killed, 1)
				require.Equal(c, core.TimedOut, c.killed[0].Reason)
				require.EqualValues(c, 1, c.engine.Stats().PinKill)
				require.NoError(c, c.kernel.ReadPages(c.Context(), nil, 7, 1, 2), "its number may be another process by now")
			})
		})
	}
}

// TestClientIsEndedAlsoWhenTheServerStopsMeanwhile: the signal may be a handled one.
func TestClientIsEndedAlsoWhenTheServerStopsMeanwhile(t *testing.T) {
	inStuck(t, func() *actor { return newActor(7, syscall.SIGKILL) }, func(c *stuck) {
		c.until(sceneTimeout + time.Second)
		require.Len(c, c.signals(), 1)
		c.cancel()
		c.engine.Close()
		require.Len(c, c.signals(), 2)
		require.Len(c, c.killed, 1)
		require.Empty(c, c.fatal)
		require.Equal(c, 1, c.answered())
	})
}

// TestTimeThatAClientHasToEndByItself is what is left for the pin, and not more than
// some seconds, when the link broke; none when it did wrong.
func TestTimeThatAClientHasToEndByItself(t *testing.T) {
	const T = sceneTimeout
	refuse := func(c *stuck) { c.say(c.link, "2 nak") }
	breaks := func(c *stuck) { c.say(c.link, "4 ack") }
	closes := func(c *stuck) { c.link.Release() }
	for _, test := range []struct {
		does          func(c *stuck)
		when, patient time.Duration
		reason        core.Reason
	}{
		{refuse, time.Second, 0, core.Refused},
		{breaks, time.Second, dyingPatience, core.Broke},
		{closes, time.Second, dyingPatience, core.Closed},
		{closes, T - dyingPatience/2, dyingPatience / 2, core.Closed},
	} {
		process := func() *actor { return newActor(7, syscall.SIGBUS) }
		inStuck(t, process, func(c *stuck) {
			c.until(test.when)
			test.does(c)
			c.until(test.when + test.patient + 10*time.Millisecond)
			require.Equal(c, []string{fmt.Sprintf("SIGBUS after %s", test.when+test.patient)}, c.signals())
			require.Equal(c, 1, c.answered())
			require.Len(c, c.killed, 1)
			require.Equal(c, test.reason, c.killed[0].Reason)
		})
		if test.patient == 0 {
			continue
		}
		inStuck(t, process, func(c *stuck) {
			c.until(test.when)
			test.does(c)
			c.until(test.when + test.patient/2)
			require.Zero(c, c.answered(), "it may see the page")
			close(c.proc.dead)
			require.Equal(c, 1, c.answered())
			require.Empty(c, c.signals())
			require.Empty(c, c.killed)
		})
	}
}

// TestClientThatClosesHasTheTimeOfItsOldestPin: somebody waits for that since then.
func TestClientThatClosesHasTheTimeOfItsOldestPin(t *testing.T) {
	const T = sceneTimeout
	inStuck(t, func() *actor { return newActor(7, syscall.SIGBUS) }, func(c *stuck) {
		c.until(T / 2)
		c.commit(1)
		other := c.read(1, 2)
		require.Len(c, c.pins(c.hear(c.link), 1, 1), 1)
		c.until(T - time.Second)
		c.link.Release()
		c.until(T + 10*time.Millisecond)
		require.Equal(c, []string{fmt.Sprintf("SIGBUS after %s", T)}, c.signals())
		require.Equal(c, 1, c.answered())
		require.Equal(c, 1, other())
	})
}

// TestClientThatLeavesAFileHasToAnswerForOthers.
func TestClientThatLeavesAFileHasToAnswerForOthers(t *testing.T) {
	inStuck(t, func() *actor { return newActor(7, syscall.SIGBUS) }, func(c *stuck) {
		_, err := c.head.Open(c.Context(), sceneTwin)
		require.NoError(c, err)
		c.say(c.link, "3 watch %s @%s", sceneTwin, c.tid)
		require.Equal(c, []string{"3 ok"}, c.hear(c.link))
		c.say(c.link, "5 watch %s -", sceneTwin)
		require.Equal(c, []string{"5 ok"}, c.hear(c.link))
		c.until(sceneTimeout + 10*time.Millisecond)
		require.Equal(c, []string{fmt.Sprintf("SIGBUS after %s", sceneTimeout)}, c.signals())
		require.Equal(c, 1, c.answered())
	})
}

// TestClientThatMayGoIsLeftAlone: who says bye, ends by itself, or has a server that
// stops.
func TestClientThatMayGoIsLeftAlone(t *testing.T) {
	for name, goes := range map[string]func(c *stuck){
		"bye":  func(c *stuck) { c.say(c.link, "3 bye") },
		"ends": func(c *stuck) { close(c.proc.dead) }, // the link stays open elsewhere
		"closes when it has left the file": func(c *stuck) {
			c.say(c.link, "3 watch %s -", c.file.Oid)
			require.Equal(c, []string{"3 ok"}, c.hear(c.link))
			c.link.Release()
		},
		"the server is told to end": func(c *stuck) {
			c.cancel()
			c.until(time.Minute)
			require.Empty(c, c.signals())
			c.engine.Close()
		},
		"the server ends": func(c *stuck) { c.engine.list()[0].shutdown(downStopped, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			inStuck(t, func() *actor { return newActor(7) }, func(c *stuck) {
				goes(c)
				require.Equal(c, 1, c.answered())
				c.requireEnd(true)
				require.Equal(c, 1, c.proc.closed, "handles are given back, once")
				c.until(time.Hour)
				require.Empty(c, c.signals())
				require.Empty(c, c.killed)
				require.Empty(c, c.fatal)
				require.Empty(c, c.engine.list())
			})
		})
	}
}

// TestAnswersForAWatchThatWasRemovedDoNotMatter, whatever they are and whenever they
// come. The file can be watched again when there is one, or its time is over.
func TestAnswersForAWatchThatWasRemovedDoNotMatter(t *testing.T) {
	for _, test := range []struct {
		answer string
		after  time.Duration // when it comes
		again  time.Duration // when the next watch is there
	}{
		{"ack", time.Second, time.Second},
		{"nak", time.Second, time.Second},
		{"nak", sceneTimeout + time.Minute, sceneTimeout},
	} {
		inStuck(t, func() *actor { return newActor(7) }, func(c *stuck) {
			c.say(c.link, "3 watch %s -", c.file.Oid)
			require.Equal(c, []string{"3 ok"}, c.hear(c.link))
			require.Equal(c, 1, c.answered())
			c.say(c.link, "5 watch %s @%s", c.file.Oid, c.tid)
			c.until(test.again - time.Millisecond)
			require.Empty(c, c.hear(c.link), "an answer would be taken for one of the next watch")
			c.until(test.again)
			if test.after == test.again {
				c.say(c.link, "2 %s", test.answer)
			}
			lines := c.hear(c.link)
			require.Len(c, lines, 1)
			require.Contains(c, lines[0], "pin")
			require.Contains(c, lines[0], "@head")
			c.link.mu.Lock()
			require.Len(c, c.link.messages, 1, "what is not waited for is not kept")
			c.link.mu.Unlock()
			c.say(c.link, "4 ack")
			require.Equal(c, []string{"5 ok"}, c.hear(c.link))
			if test.after > test.again {
				c.until(test.after)
				c.say(c.link, "2 %s", test.answer)
				require.Empty(c, c.hear(c.link))
			}
			require.Empty(c, c.signals())
			require.NoError(c, c.link.Write([]byte("6 ack\n")))
			require.Contains(c, strings.Join(c.hear(c.link), ""), "unexpected stream")
		})
	}
}

// TestTimeForAPinRunsFromWhenAREADWaits also when the pin is sent later.
func TestTimeForAPinRunsFromWhenAREADWaits(t *testing.T) {
	inScene(t, 1, func(s *scene) {
		proc := newActor(7, syscall.SIGBUS)
		c := &stuck{scene: s, proc: proc, link: s.open(proc)}
		s.say(c.link, "1 watch %s @%s", s.file.Oid, s.tid)
		require.Equal(t, []string{"1 ok"}, s.hear(c.link))
		line := strings.Repeat("x", wire.MaxOutput/2-1) + "\n"
		require.True(t, c.link.out.TryPut(line))
		require.True(t, c.link.out.TryPut(line)) // there is no room for a pin
		s.commit(0)
		c.answered, c.start = s.read(0, 1), time.Now()
		c.until(sceneTimeout - time.Second)
		lines := append(s.hear(c.link), s.hear(c.link)...)
		require.Len(t, lines, 3)
		require.Len(t, s.pins(lines[2:], 0, 1), 1)
		c.until(sceneTimeout + 10*time.Millisecond)
		require.Equal(t, []string{fmt.Sprintf("SIGBUS after %s", sceneTimeout)}, c.signals())
		require.Equal(t, 1, c.answered())
	})
}

// TestSetupThatFailsLeavesNoWatch: a file that is deleted while pins of a setup are under
// way ends it with an error. An answer of the client to these pins after that, or its
// silence, is no fault.
func TestSetupThatFailsLeavesNoWatch(t *testing.T) {
	for _, answer := range []string{"%d ack", "%d nak: it is gone", ""} {
		t.Run(answer, func(t *testing.T) {
			inScene(t, 1, func(s *scene) {
				first := s.tid
				require.Equal(t, 1, s.read(0, 1)())
				s.commit(0)
				p := newActor(1, syscall.SIGBUS)
				l := s.open(p)
				s.say(l, "1 watch %s @%s", s.file.Oid, first)
				streams := s.pins(s.hear(l), 0, first)
				require.Len(t, streams, 1)
				s.remove()
				reply := s.hear(l)
				require.Len(t, reply, 1)
				require.Contains(t, reply[0], "1 error setup watch")
				require.Empty(t, l.watches)
				if answer != "" {
					s.say(l, answer, streams[0])
				}
				time.Sleep(10 * sceneTimeout)
				synctest.Wait()
				require.Empty(t, s.killed)
				require.Empty(t, p.got)
				s.say(l, "3 watch %s -", s.file.Oid)
				require.Len(t, s.hear(l), 1)
			})
		})
	}
}
