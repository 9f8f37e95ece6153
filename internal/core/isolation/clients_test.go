package isolation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestClientsAreToldOfByWhoKeepsOthersWaiting: the one that has not answered for longest
// comes first, and its links count together.
func TestClientsAreToldOfByWhoKeepsOthersWaiting(t *testing.T) {
	inScene(t, 2, func(s *scene) {
		require.Empty(t, s.engine.Clients())
		idle := s.open(newActor(5))
		second := s.open(newActor(7))
		first := s.open(newActor(9))
		more := s.open(newActor(9))
		for _, l := range []*Link{second, first} {
			s.say(l, "1 watch %s @%s", s.file.Oid, s.tid)
			require.Equal(t, []string{"1 ok"}, s.hear(l))
		}
		s.commit(0)
		answered := s.read(0, 1)
		began := time.Now()
		s.ack(second, s.pins(s.hear(second), 0, 1))
		pin := s.pins(s.hear(first), 0, 1)
		require.Zero(t, answered())
		time.Sleep(time.Second)
		require.Equal(t, []Client{
			{Pid: 9, Links: 2, Watches: 1, Unanswered: 1, Oldest: began},
			{Pid: 7, Links: 1, Watches: 1, Pinned: 1},
			{Pid: 5, Links: 1},
		}, s.engine.Clients())
		s.ack(first, pin)
		require.Equal(t, 1, answered())
		require.Equal(t, []Client{
			{Pid: 7, Links: 1, Watches: 1, Pinned: 1},
			{Pid: 9, Links: 2, Watches: 1, Pinned: 1},
			{Pid: 5, Links: 1},
		}, s.engine.Clients())
		for _, l := range []*Link{idle, second, first, more} {
			s.say(l, "3 bye")
		}
	})
}
