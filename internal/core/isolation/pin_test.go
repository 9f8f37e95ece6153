package isolation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPinsThatREADsWaitForHaveRoomOfTheirOwn has a client with more blocks than may be
// pinned at a time: it is sent as many pins as may be under way, and the next ones as
// it acknowledges those. Pins that READs wait for do not wait behind them.
func TestPinsThatREADsWaitForHaveRoomOfTheirOwn(t *testing.T) {
	const n, many = maxPins + 200, 200
	inScene(t, n, func(s *scene) {
		require.Equal(t, 2*n, s.read(0, 2*n)())
		s.commit(0)
		require.Equal(t, n, s.read(0, n)())
		l := s.open(newActor(7))
		s.say(l, "1 watch %s @%s", s.file.Oid, s.tid-1)
		first := s.pins(s.hear(l), 0, 1)
		require.Len(t, first, maxPins)
		s.ack(l, first[:50])
		next := s.pins(s.hear(l), 0, 1)
		require.Len(t, next, 50)
		s.ack(l, append(first[50:], next...))
		last := s.pins(s.hear(l), 0, 1)
		require.Len(t, last, n-maxPins-50)
		s.ack(l, last)
		require.Equal(t, []string{"1 ok"}, s.hear(l))

		s.commit(0)
		s.say(l, "3 watch %s @%s", s.file.Oid, s.tid-1)
		moving := s.pins(s.hear(l), 0, 2)
		require.Len(t, moving, maxPins, "nobody waits for them")
		s.commit(1)
		answered := s.read(n, n+many)
		for i := range many {
			urgent := s.pins(s.hear(l), 1, 1)
			require.Len(t, urgent, 1, "one at a time, however many are under way for which nobody waits")
			require.Equal(t, i, answered())
			s.ack(l, urgent)
		}
		require.Equal(t, many, answered())
		s.ack(l, moving)
		last = s.pins(s.hear(l), 0, 2)
		require.Len(t, last, n-maxPins)
		s.ack(l, last)
		require.Equal(t, []string{"3 ok"}, s.hear(l))
		l.mu.Lock()
		require.Zero(t, l.wanted.senders)
		require.Zero(t, l.urgent.senders)
		require.Empty(t, l.messages)
		l.mu.Unlock()
		s.say(l, "5 bye")
	})
}

// TestWhatIsWantedFirstIsSentFirst: later blocks do not push away what has to wait for
// its turn.
func TestWhatIsWantedFirstIsSentFirst(t *testing.T) {
	const n = maxPins + 200
	inScene(t, n, func(s *scene) {
		require.Equal(t, 2*n, s.read(0, 2*n)())
		s.commit(0)
		require.Equal(t, n, s.read(0, n)())
		l := s.open(newActor(7))
		s.say(l, "1 watch %s @%s", s.file.Oid, s.tid-1)
		first := s.pins(s.hear(l), 0, 1)
		require.Len(t, first, maxPins)
		s.commit(1)
		require.Equal(t, 100, s.read(n, n+100)(), "the client maps nothing before it is answered")
		s.ack(l, first[:150])
		require.Len(t, s.pins(s.hear(l), 0, 1), 150)
		s.say(l, "3 bye")
	})
}

// TestAnswerIsNotBehindTwoPins that READs wait for: a client that cannot do what they say
// before it has the answer can take one only, and then nothing more.
func TestAnswerIsNotBehindTwoPins(t *testing.T) {
	inScene(t, 2, func(s *scene) {
		l := s.open(newActor(7))
		s.say(l, "1 watch %s @%s", s.file.Oid, s.tid)
		require.Equal(s, []string{"1 ok"}, s.hear(l))
		s.commit(0)
		answered := s.read(0, 2)
		first := s.pins(s.hear(l), 0, 1)
		require.Len(s, first, 1)
		s.ack(l, first)
		second := s.pins(s.hear(l), 0, 1)
		require.Len(s, second, 1, "the first was answered")
		require.Equal(s, 1, answered())
		s.say(l, "3 watch %s -", s.file.Oid)
		require.Equal(s, []string{"3 ok"}, s.hear(l))
		require.Equal(s, 2, answered())
		s.say(l, "99 bye")
	})
}

// TestSlowClientIsSentAllThatREADsWaitFor, a moment after the first: nobody waits for it
// longer than for one pin. When it is quick again it is sent one at a time.
func TestSlowClientIsSentAllThatREADsWaitFor(t *testing.T) {
	inScene(t, 4, func(s *scene) {
		l := s.open(newActor(7))
		s.say(l, "1 watch %s @%s", s.file.Oid, s.tid)
		require.Equal(s, []string{"1 ok"}, s.hear(l))
		s.commit(0)
		answered := s.read(0, 3)
		first := s.pins(s.hear(l), 0, 1)
		require.Len(s, first, 1)
		time.Sleep(201 * time.Millisecond)
		others := s.pins(s.hear(l), 0, 1)
		require.Len(s, others, 2)
		s.ack(l, others)
		require.Equal(s, 2, answered(), "they do not wait for the first one")
		s.ack(l, first)
		require.Equal(s, 3, answered())
		s.commit(1)
		answered = s.read(4, 7)
		for i := range 3 {
			pin := s.pins(s.hear(l), 1, 1)
			require.Len(s, pin, 1)
			s.ack(l, pin)
			require.Equal(s, i+1, answered())
		}
		s.say(l, "99 bye")
	})
}
