package isolation

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPinsThatREADsWaitForHaveRoomOfTheirOwn has a client with more blocks than may be
// pinned at a time: it is sent as many pins as may be under way, and the next ones as
// it acknowledges those. What READs wait for does not wait behind them.
func TestPinsThatREADsWaitForHaveRoomOfTheirOwn(t *testing.T) {
	const n = maxPins + 200
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
		answered := s.read(n, 2*n)
		urgent := s.pins(s.hear(l), 1, 1)
		require.Len(t, urgent, maxPins, "they have as much room")
		require.Zero(t, answered())
		s.ack(l, moving[:1])
		urgent = append(urgent, s.pins(s.hear(l), 1, 1)...)
		require.Len(t, urgent, maxPins+1, "whoever becomes free does what a READ waits for")
		s.ack(l, urgent)
		urgent = s.pins(s.hear(l), 1, 1)
		require.Len(t, urgent, n-maxPins-1, "and nothing else in the room of READs")
		s.ack(l, urgent[1:])
		require.Equal(t, n-1, answered())
		s.ack(l, urgent[:1])
		require.Equal(t, n, answered())
		rest := s.pins(s.hear(l), 0, 2)
		require.Len(t, rest, 1)
		s.ack(l, append(moving[1:], rest...))
		last = s.pins(s.hear(l), 0, 2)
		require.Len(t, last, n-maxPins-1)
		s.ack(l, last)
		require.Equal(t, []string{"3 ok"}, s.hear(l))
		l.mu.Lock()
		require.Zero(t, l.senders)
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
