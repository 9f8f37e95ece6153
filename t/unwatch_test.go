package t

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// unwatched returns a client in another process that has left the file while a pin
// for a READ of block 1 was not answered. It handles pins as the usual clients do:
// not before it has the answer to its own request, since it holds meanwhile the lock
// that takes. The answer must come at once, and so must the data that the READ waits
// for.
func (sc *scene) unwatched() (f *faulty, pin watchPin) {
	sc.t.Helper()
	f, pin, finish := sc.stuckRead(func(*faulty) {})
	sc.stillReading()
	start := time.Now()
	f.Write("3 watch " + sc.f.Oid.String() + " -\n")
	require.Equal(sc.t, "3 ok", f.Read())
	finish()
	require.Less(sc.t, time.Since(start), pinTimeout/2, "the end of the watch was answered and the READ went on late")
	return f, pin
}

// requireLinkLives requires that the client was told nothing since, and that its link
// goes on.
func (f *faulty) requireLinkLives(stream int) {
	f.t.Helper()
	f.Write(fmt.Sprintf("%d x\n", stream))
	require.Equal(f.t, fmt.Sprintf(`%d error bad watch: not a watch request: "x"`, stream), f.Read())
	f.requireAlive()
}

// answersToALeftPin is what a client may say to a pin of a watch that it has left.
var answersToALeftPin = map[string]string{
	"ack":     "2 ack\n",
	"nak":     "2 nak: not watched\n",
	"silence": "",
}

// TestEndOfAWatchIsAnsweredAtOnce: whatever the client says to a pin that was on its
// way, it is not told of the file any more and not ended, also when the time of the
// pin is over.
func TestEndOfAWatchIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	for name, answer := range answersToALeftPin {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc := newSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
			f, _ := sc.unwatched()
			if answer != "" {
				f.Write(answer)
			}
			f.requireLinkLives(5)
			sc.commit(1, 2)
			sc.read(1, 2) // nobody is asked
			time.Sleep(time.Until(f.started.Add(pinTimeout * 5 / 4)))
			f.requireLinkLives(7)
			require.Equal(t, 1, sc.s.stats()["pin"])
			require.Zero(t, sc.s.stats()["Watch"])
			f.Write("9 bye\n")
			require.Equal(t, "EOF", f.Read())
			require.Zero(t, f.Wait())
			sc.requireNoFault()
		})
	}
}

// TestWatchAfterALeftPinTellsTheBlockAnew: nobody knows whether the client has done
// what the pin said. So it is told where to map the block from, even if that is head
// or the same revision; once the pin was answered, or cannot be answered any more.
func TestWatchAfterALeftPinTellsTheBlockAnew(t *testing.T) {
	t.Parallel()
	for name, answer := range answersToALeftPin {
		for _, view := range []string{"head", "the same"} {
			t.Run(name+", "+view, func(t *testing.T) {
				t.Parallel()
				sc := newSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
				f, pin := sc.unwatched()
				sent := f.started
				at, rev := sc.at[1], sc.at[0].String()
				if view == "head" {
					at, rev = sc.l.Head(), "head"
				}
				f.Write("5 " + watchRequest(sc.f.Oid, at) + "\n")
				f.requireLinkLives(7) // and waits for the answer to the old pin
				if answer != "" {
					f.Write(answer)
				}
				again := fmt.Sprintf("4 pin %s #%d @%s", sc.f.Oid, pin.blk, rev)
				require.Equal(t, again, f.Read())
				if answer == "" {
					require.Greater(t, time.Since(sent), pinTimeout*9/10, "the old pin could still be answered")
					f.Write("2 ack\n") // much too late: it means nothing
				} else {
					require.Less(t, time.Since(sent), pinTimeout)
				}
				f.requireLinkLives(9) // not told ok before it has mapped that
				f.Write("4 ack\n")
				require.Equal(t, "5 ok", f.Read())
				// The file is watched as any other.
				sc.commit(2)
				finish := sc.startRead(2)
				require.Equal(t, fmt.Sprintf("6 pin %s #2 @%s", sc.f.Oid, sc.at[1]), f.Read())
				sc.stillReading()
				f.Write("6 ack\n11 bye\n")
				finish()
				require.Equal(t, "EOF", f.Read())
				require.Zero(t, f.Wait())
				sc.requireNoFault()
			})
		}
	}
}

// TestWatchAfterALeftPinSeesItsView: content through what the client is told.
func TestWatchAfterALeftPinSeesItsView(t *testing.T) {
	t.Parallel()
	forAllProcs(t, func(t *testing.T, procs int) {
		sc := newSceneOf(t, procs, 64<<10)
		at1 := sc.commit(0, 1, 2)
		sc.mapped(4)
		w := sc.manualWatcher()
		for round := range 5 {
			w.Watch(sc.f, at1)
			at2 := sc.commit(1)
			finish := sc.startRead(1)
			p := w.Pin()
			require.Equal(t, at1, p.rev)
			w.Unwatch(sc.f) // that is answered while the pin is not
			finish()
			again := at1
			if round%2 == 0 {
				again = at2
			}
			request := w.Send(watchRequest(sc.f.Oid, again))
			w.Ack(p)
			p = w.Pin()
			require.EqualValues(t, 1, p.blk)
			require.Equal(t, again == at2, p.rev == toHead)
			w.Ack(p)
			require.Equal(t, "ok", w.Reply(request))
			w.at[sc.f] = again
			w.Sees(sc.f)
			w.Unwatch(sc.f)
			at1 = at2
		}
		sc.end()
	})
}
