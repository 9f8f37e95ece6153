package isolation

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// TestLinksAreBounded, those of one process to a quarter, and what was refused or has
// ended takes none.
func TestLinksAreBounded(t *testing.T) {
	inScene(t, 1, func(s *scene) {
		refused := func(pid int) {
			s.Helper()
			p := newActor(pid)
			_, err := s.engine.Open(func() (Process, error) { return p, nil })
			require.ErrorIs(s, err, ErrTooManyLinks)
		}
		for round := range 3 {
			var links []*Link
			var procs []*actor
			for i := range 6 {
				procs = append(procs, newActor(i/2))
				links = append(links, s.open(procs[i]))
			}
			for range 10 {
				over := newActor(0)
				_, err := s.engine.Open(func() (Process, error) { return over, nil })
				require.ErrorIs(s, err, ErrTooManyLinks)
				require.Equal(s, 1, over.closed)
				gone := errors.New("it is gone")
				_, err = s.engine.Open(func() (Process, error) { return nil, gone })
				require.ErrorIs(s, err, gone)
			}
			for i := range 2 {
				procs = append(procs, newActor(3))
				links = append(links, s.open(procs[6+i]))
			}
			refused(4)
			require.Equal(s, 8, s.engine.Stats().WatchLink)
			for i, l := range links {
				if (i+round)%2 == 0 {
					close(procs[i].dead)
				} else {
					l.Release()
				}
			}
			synctest.Wait()
			require.Zero(s, s.engine.Stats().WatchLink)
			for i := range procs {
				require.Equal(s, 1, procs[i].closed)
			}
		}
	})
}
