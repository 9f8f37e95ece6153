package isolation

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestRequestsOfAFileAreDoneInTurn: one begins when the one before is answered.
func TestRequestsOfAFileAreDoneInTurn(t *testing.T) {
	inScene(t, 1, func(s *scene) {
		s.commit(0)
		require.Equal(t, 1, s.read(0, 1)())
		l := s.open(newActor(7))
		s.say(l, "1 watch %s @%s", s.file.Oid, s.tid-1)
		require.Len(t, s.pins(s.hear(l), 0, 1), 1)
		s.say(l, "3 watch %s @%s", s.file.Oid, s.tid)
		require.Empty(t, s.hear(l))
		s.say(l, "2 ack")
		require.Equal(t, []string{"1 ok", fmt.Sprintf("4 pin %s #0 @head", s.file.Oid)}, s.hear(l))
		s.say(l, "4 ack")
		require.Equal(t, []string{"3 ok"}, s.hear(l))
	})
}

// TestWhoWantsToLeaveAFileWaitsForNoView, whether the request that waits for one has
// begun or has not.
func TestWhoWantsToLeaveAFileWaitsForNoView(t *testing.T) {
	inScene(t, 1, func(s *scene) {
		l := s.open(newActor(7))
		s.say(l, "1 watch %s @%s", s.file.Oid, zodb.TidMax)
		require.Empty(t, s.hear(l))
		s.say(l, "3 watch %s -", s.file.Oid)
		lines := s.hear(l)
		require.Len(t, lines, 2)
		require.Contains(t, lines[0], "1 error setup watch")
		require.Equal(t, "3 ok", lines[1])

		s.commit(0)
		require.Equal(t, 1, s.read(0, 1)())
		s.say(l, "5 watch %s @%s", s.file.Oid, s.tid-1)
		require.Len(t, s.pins(s.hear(l), 0, 1), 1)
		s.say(l, "7 watch %s @%s\n9 watch %s -", s.file.Oid, zodb.TidMax, s.file.Oid)
		s.say(l, "2 ack")
		lines = s.hear(l)
		require.Len(t, lines, 3)
		require.Equal(t, "5 ok", lines[0])
		require.Contains(t, lines[1], "7 error setup watch")
		require.Equal(t, "9 ok", lines[2])
	})
}

// TestNothingIsKeptOfRequestsThatAreAnswered: a client may make any number of them, one
// after another.
func TestNothingIsKeptOfRequestsThatAreAnswered(t *testing.T) {
	inScene(t, 1, func(s *scene) {
		l := s.open(newActor(7))
		for i := range 2 * maxRequests {
			for _, request := range []string{"x", fmt.Sprintf("watch %016x @%s", 0x1000+i, s.tid)} {
				s.say(l, "1 %s", request)
				lines := s.hear(l)
				require.Len(t, lines, 1)
				require.Contains(t, lines[0], "1 error ")
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		require.Zero(t, l.nreq)
		require.Empty(t, l.requests)
		require.Empty(t, l.waiting)
	})
}

// TestWhyARequestIsRefused is what it says first: a view that is too old is too old for
// every file, and no file is watched, or left, that nobody has looked up.
func TestWhyARequestIsRefused(t *testing.T) {
	inScene(t, 1, func(s *scene) {
		l := s.open(newActor(7))
		for _, test := range []struct{ request, why string }{
			{fmt.Sprintf("watch %s @%s", s.file.Oid, zodb.Tid(0)), "too far away back from head/at (@0000000000000001)"},
			{fmt.Sprintf("watch %s @%s", sceneTwin, zodb.Tid(0)), "too far away back from head/at (@0000000000000001)"},
			{fmt.Sprintf("watch %s @%s", sceneTwin, s.tid), errUnknownFile.Error()},
			{fmt.Sprintf("watch %s -", sceneTwin), errUnknownFile.Error()},
		} {
			s.say(l, "1 %s", test.request)
			text := strings.Join(s.hear(l), "\n")
			require.Contains(t, text, "1 error setup watch", test.request)
			require.Contains(t, text, test.why, test.request)
		}
		s.say(l, "1 watch %s -", s.file.Oid)
		require.Equal(t, []string{"1 ok"}, s.hear(l), "it is not watched, and known")
	})
}
