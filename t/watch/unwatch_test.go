package watch

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// unwatched returns a client in another process that has left the file while a pin
// for a READ of block 1 was not answered. It handles pins as the usual clients do:
// not before it has the answer to its own request, since it holds meanwhile the lock
// that takes. The answer must come at once, and so must the data that the READ waits
// for.
func unwatched(sc *harness.Scene) (f *harness.Faulty, pin harness.WatchPin) {
	sc.T.Helper()
	f, pin, finish := stuckRead(sc, func(*harness.Faulty) {})
	sc.StillReading()
	start := time.Now()
	f.Write("3 watch " + sc.File.Oid.String() + " -\n")
	require.Equal(sc.T, "3 ok", f.Read())
	finish()
	require.Less(sc.T, time.Since(start), pinTimeout/2, "the end of the watch was answered and the READ went on late")
	return f, pin
}

// requireLinkLives requires that the client was told nothing since, and that its link
// goes on.
func requireLinkLives(f *harness.Faulty, stream int) {
	f.T.Helper()
	f.Write(fmt.Sprintf("%d x\n", stream))
	require.Equal(f.T, fmt.Sprintf(`%d error bad watch: not a watch request: "x"`, stream), f.Read())
	f.RequireAlive()
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
			sc := harness.NewSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
			f, _ := unwatched(sc)
			if answer != "" {
				f.Write(answer)
			}
			requireLinkLives(f, 5)
			sc.Commit(1, 2)
			sc.Read(1, 2) // nobody is asked
			time.Sleep(time.Until(f.Started.Add(pinTimeout * 5 / 4)))
			requireLinkLives(f, 7)
			require.Equal(t, 1, sc.Server.Stats()["pin"])
			require.Zero(t, sc.Server.Stats()["Watch"])
			f.Write("9 bye\n")
			require.Equal(t, "EOF", f.Read())
			require.Zero(t, f.Wait())
			requireNoFault(sc)
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
				sc := harness.NewSceneOf(t, 0, 64<<10, "-pintimeout="+pinTimeout.String())
				f, pin := unwatched(sc)
				sent := f.Started
				at, rev := sc.At[1], sc.At[0].String()
				if view == "head" {
					at, rev = sc.Live.Head(), "head"
				}
				f.Write("5 " + harness.WatchRequest(sc.File.Oid, at) + "\n")
				requireLinkLives(f, 7) // and waits for the answer to the old pin
				if answer != "" {
					f.Write(answer)
				}
				again := fmt.Sprintf("4 pin %s #%d @%s", sc.File.Oid, pin.Blk, rev)
				require.Equal(t, again, f.Read())
				if answer == "" {
					require.Greater(t, time.Since(sent), pinTimeout*9/10, "the old pin could still be answered")
					f.Write("2 ack\n") // much too late: it means nothing
				} else {
					require.Less(t, time.Since(sent), pinTimeout)
				}
				requireLinkLives(f, 9) // not told ok before it has mapped that
				f.Write("4 ack\n")
				require.Equal(t, "5 ok", f.Read())
				// The file is watched as any other.
				sc.Commit(2)
				finish := sc.StartRead(2)
				require.Equal(t, fmt.Sprintf("6 pin %s #2 @%s", sc.File.Oid, sc.At[1]), f.Read())
				sc.StillReading()
				f.Write("6 ack\n11 bye\n")
				finish()
				require.Equal(t, "EOF", f.Read())
				require.Zero(t, f.Wait())
				requireNoFault(sc)
			})
		}
	}
}

// TestWatchAfterALeftPinSeesItsView: content through what the client is told.
func TestWatchAfterALeftPinSeesItsView(t *testing.T) {
	t.Parallel()
	harness.ForAllProcs(t, func(t *testing.T, procs int) {
		sc := harness.NewSceneOf(t, procs, 64<<10)
		at1 := sc.Commit(0, 1, 2)
		sc.Map(4)
		w := sc.ManualWatcher()
		for round := range 5 {
			w.Watch(sc.File, at1)
			at2 := sc.Commit(1)
			finish := sc.StartRead(1)
			p := w.Pin()
			require.Equal(t, at1, p.Rev)
			w.Unwatch(sc.File) // that is answered while the pin is not
			finish()
			again := at1
			if round%2 == 0 {
				again = at2
			}
			request := w.Send(harness.WatchRequest(sc.File.Oid, again))
			w.Ack(p)
			p = w.Pin()
			require.EqualValues(t, 1, p.Blk)
			require.Equal(t, again == at2, p.Rev == harness.ToHead)
			w.Ack(p)
			require.Equal(t, "ok", w.Reply(request))
			w.At[sc.File] = again
			w.Sees(sc.File)
			w.Unwatch(sc.File)
			at1 = at2
		}
		sc.End()
	})
}
