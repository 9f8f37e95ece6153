package t

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Numbers in comments are those of the scenarios that clients of the protocol
// rely on.

// TestWatchOfUnknownFileIsRefused is B2.
func TestWatchOfUnknownFileIsRefused(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	sc.commit(2)
	sc.commit(2)
	w := sc.watcher()
	refused := func(oid zodb.Oid) {
		t.Helper()
		require.Equal(t, fmt.Sprintf("error setup watch f<%s> @%s: file not yet known to wcfs or is not a ZBigFile", oid, sc.at[1]), w.Ask(watchRequest(oid, sc.at[1])))
		require.Equal(t, fmt.Sprintf("error setup watch f<%s> @ffffffffffffffff: file not yet known to wcfs or is not a ZBigFile", oid), w.Ask("watch "+oid.String()+" -"))
	}
	refused(sc.f.Oid)
	refused(0)
	refused(1<<64 - 1)
	sc.open()
	w.Watch(sc.f, sc.at[1])
	w.Unwatch(sc.f)
	w.Unwatch(sc.f) // also what is not watched can be removed
	sc.none()
	sc.end()
}

// TestByeCancelsAll is B3.
func TestByeCancelsAll(t *testing.T) {
	t.Parallel()
	sc := newScene(t, "-pintimeout=3s")
	sc.commit(2)
	sc.commit(2)
	sc.mapped(3)
	sc.read(2)
	w := sc.manualWatcher()
	request := w.Send(watchRequest(sc.f.Oid, sc.at[1]))
	require.Equal(t, watchPin{2, sc.f.Oid, 2, sc.at[1]}, w.Pin())
	future := w.Send(watchRequest(sc.f.Oid+1, sc.at[2]+1000)) // waits for head
	require.NoError(t, w.bye())
	w.fd = -1
	for _, r := range []uint64{request, future} {
		_, err := w.reply(r)
		require.EqualError(t, err, "link is down: []", "no reply, no message")
	}
	sc.s.requireNoLinks()
	sc.commit(2)
	sc.read(2)
	sc.end()
}

// TestBadRequestsAreRefused is B4. The link goes on.
func TestBadRequestsAreRefused(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	sc.open()
	w := sc.watcher()
	f, at := sc.f.Oid.String(), sc.at[0].String()
	for request, want := range map[string]string{
		"bla bla":                           `error bad watch: not a watch request: "bla bla"`,
		"":                                  `error bad watch: not a watch request: ""`,
		"watch":                             `error bad watch: not a watch request: "watch"`,
		"bye ":                              `error bad watch: not a watch request: "bye "`,
		"Watch " + f + " @" + at:            `error bad watch: not a watch request: "Watch ` + f + ` @` + at + `"`,
		"\x00\xff\t\"":                      `error bad watch: not a watch request: "\x00\xff\t\""`,
		"watch ":                            `error bad watch: expected 2 arguments, got 1`,
		"watch " + f:                        `error bad watch: expected 2 arguments, got 1`,
		"watch " + f + " @" + at + " x":     `error bad watch: expected 2 arguments, got 3`,
		"watch  " + f + " @" + at:           `error bad watch: expected 2 arguments, got 3`,
		"watch zz @" + at:                   `error bad watch: invalid oid`,
		"watch 0" + f + " @" + at:           `error bad watch: invalid oid`,
		"watch " + f[1:] + "G @" + at:       `error bad watch: invalid oid`,
		"watch " + f + " " + at:             `error bad watch: invalid at`,
		"watch " + f + " @":                 `error bad watch: invalid at`,
		"watch " + f + " @head":             `error bad watch: invalid at`,
		"watch " + f + " --":                `error bad watch: invalid at`,
		"watch " + f + " @" + at[1:] + "\r": `error bad watch: invalid at`,
	} {
		require.Equal(t, want, w.Ask(request))
	}
	// What does not fit into a message of 246 bytes is cut.
	long := w.Ask(strings.Repeat("x", 500))
	require.Len(t, long, 246)
	require.True(t, strings.HasPrefix(long, `error bad watch: not a watch request: "xxxxx`), long)
	long = w.Ask(strings.Repeat("é", 300))
	require.LessOrEqual(t, len(long), 246)
	w.Watch(sc.f, sc.at[0])
	sc.end()
}

// TestTooFarBackIsRefused is B6.
func TestTooFarBackIsRefused(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	sc.commit(2)
	sc.open()
	w := sc.watcher()
	for _, back := range []zodb.Tid{1, 1 << 16, 1 << 40} {
		at := sc.at[0] - back
		prefix := fmt.Sprintf("error setup watch f<%s> @%s: too far away back from head/at (@%s); δt = ", sc.f.Oid, at, sc.at[1])
		reply := w.Ask(watchRequest(sc.f.Oid, at))
		require.True(t, strings.HasPrefix(reply, prefix), reply)
		δt, err := time.ParseDuration(reply[len(prefix):])
		require.NoError(t, err)
		require.InDelta(t, sc.at[1].Time().Sub(at.Time().Time).Seconds(), δt.Seconds(), 1e-5)
	}
	w.Watch(sc.f, sc.at[0]) // where history begins
	// An hour later that is still so for what is watched, and only for that.
	hour := zodb.TidFromTime(sc.at[1].Time().Add(time.Hour))
	sc.s.WaitAt(sc.l.CommitAs(hour, func(tx *LiveTx) { tx.Write(sc.f, 2, "later") }))
	sc.s.WaitAt(sc.l.CommitAs(hour+1, func(tx *LiveTx) { tx.Write(sc.f, 2, "later still") }))
	w.Watch(sc.f, sc.at[0])
	w.Sees(sc.f)
	w.Expect(sc.f, pins{})
	other := sc.watcher()
	require.Contains(t, other.Ask(watchRequest(sc.f.Oid, sc.at[0]-1)), "too far away back")
	w.Unwatch(sc.f)
	sc.s.WaitAt(sc.l.CommitAs(hour+2, func(tx *LiveTx) { tx.Write(sc.f, 2, "and later") }))
	require.Contains(t, other.Ask(watchRequest(sc.f.Oid, sc.at[0])), "too far away back")
	other.Watch(sc.f, hour)
	other.Sees(sc.f)
	other.Expect(sc.f, pins{2: hour})
	sc.end()
}

// TestWatchBeforeTheFileIsRefused is B7, also for a file that was made anew.
func TestWatchBeforeTheFileIsRefused(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	at1 := sc.commit(2)
	file2 := sc.l.NewFile(blksize)
	at2 := sc.l.Head()
	at3 := file2.Commit(Blocks{1: "β3"})
	sc.s.WaitAt(at3)
	m2 := Map(t, file2.Path(sc.s, "head"), blksize, 2)
	require.Equal(t, []string{"", "β3"}, m2.Blocks(2))
	m2.Close()
	w := sc.watcher()
	refused := fmt.Sprintf("error setup watch f<%s> @%s: file epoch detected @%s in between (at,head=@%s]", file2.Oid, at1, at2, at3)
	require.Equal(t, refused, w.Ask(watchRequest(file2.Oid, at1)))
	require.Equal(t, refused, w.Ask(watchRequest(file2.Oid, at1)), "nothing is half set up (D11)")
	w.Watch(file2, at2)
	w.Expect(file2, pins{1: at2})
	w.Sees(file2)
	sc.end()
}

// TestGoingBackIsRefused is B8. The watch stays what it was.
func TestGoingBackIsRefused(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	at1, at2 := sc.commit(2), sc.commit(2)
	sc.mapped(3)
	sc.read(2)
	w := sc.watching(at2, pins{})
	back := fmt.Sprintf("error setup watch f<%s> @%s: going back in history is forbidden", sc.f.Oid, at1)
	require.Equal(t, back, w.Ask(watchRequest(sc.f.Oid, at1)))
	sc.commit(2)
	sc.read(2)
	w.Expect(sc.f, pins{2: at2})
	require.Equal(t, back, w.Ask(watchRequest(sc.f.Oid, at1)))
	w.Expect(sc.f, pins{})
	w.Sees(sc.f)
	w.Watch(sc.f, at2) // the same again
	w.Expect(sc.f, pins{})
	w.Unwatch(sc.f)
	w.Watch(sc.f, at1) // from scratch
	w.Expect(sc.f, pins{2: at1})
	w.Sees(sc.f)
	sc.end()
}

// TestWatchOfTheFutureWaitsForIt is B9.
func TestWatchOfTheFutureWaitsForIt(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	at1 := sc.commit(2)
	sc.mapped(3)
	sc.read(2)
	w := sc.watcher()
	future := at1 + 1<<24 // so many units of 14 ns
	request := w.Send(watchRequest(sc.f.Oid, future))
	never := w.Send(watchRequest(sc.f.Oid+1000, 1<<64-2))
	w.Barrier() // other requests are served meanwhile
	require.Empty(t, w.replies)
	sc.s.WaitAt(sc.l.CommitAs(future-1, func(tx *LiveTx) { tx.Write(sc.f, 0, "a2") }))
	w.Barrier()
	require.Empty(t, w.replies, "head is before what was asked for")
	sc.s.WaitAt(sc.l.CommitAs(future+1, func(tx *LiveTx) { tx.Write(sc.f, 1, "b3") }))
	require.Equal(t, "ok", w.Reply(request))
	w.at[sc.f] = future
	w.Expect(sc.f, pins{}, "block 1 was not read")
	sc.read(1)
	w.Expect(sc.f, pins{1: sc.at[0]})
	w.Sees(sc.f)
	w.mu.Lock()
	require.NotContains(t, w.replies, never)
	w.mu.Unlock()
	sc.end()
}

// setupScene is what B10 begins with.
func setupScene(t *testing.T) *scene {
	sc := newScene(t)
	sc.commit(2)
	sc.commit(2, 3, 4, 5)
	sc.commit(0, 2, 5)
	sc.mapped(6)
	sc.read(0, 1, 2, 3, 5)
	require.Equal(t, "111101", sc.m.Cache())
	sc.commit(2, 4, 5)
	sc.commit(3, 5)
	sc.read(0, 1, 2, 3)
	return sc
}

// TestSetupPinsExactlyWhatChanged is B10: what was read through head and changed
// since, to the last revision before, and nothing else.
func TestSetupPinsExactlyWhatChanged(t *testing.T) {
	t.Parallel()
	sc := setupScene(t)
	at := sc.at
	direct := []pins{
		{0: at[0], 2: at[0], 3: at[0], 5: at[0]},
		{0: at[0], 2: at[1], 3: at[0], 5: at[0]},
		{0: at[0], 2: at[2], 3: at[2], 5: at[2]},
		{2: at[3], 3: at[2], 5: at[3]},
		{3: at[2], 5: at[4]},
		{},
	}
	for i, want := range direct {
		w := sc.watching(at[i], want)
		w.Sees(sc.f, 0, 1, 2, 3)
		w.Close()
	}

	w := sc.watcher()
	for i, want := range []pins{
		{0: at[0], 2: at[0], 3: at[0], 5: at[0]},
		{2: at[1]},
		{2: at[2], 3: at[2], 5: at[2]},
		{0: toHead, 2: at[3], 5: at[3]},
		{2: toHead, 5: at[4]},
		{3: toHead, 5: toHead},
	} {
		w.Watch(sc.f, at[i])
		w.Expect(sc.f, want, "move to at%d", i)
		w.Pinned(sc.f, direct[i])
		w.Sees(sc.f, 0, 1, 2, 3)
	}
	w.Close()

	// Whatever the way, what is pinned depends on where it ends only.
	for set := 1; set < 1<<len(at); set++ {
		var way []int
		for i := range at {
			if set&(1<<i) != 0 {
				way = append(way, i)
			}
		}
		for _, way := range [][]int{way, append([]int{way[0]}, way...)} {
			w := sc.watcher()
			for _, i := range way {
				w.Watch(sc.f, at[i])
			}
			last := way[len(way)-1]
			w.Pinned(sc.f, direct[last], "way %v", way)
			require.False(t, slices.ContainsFunc(w.seen, func(p watchPin) bool { return p.blk == 4 || p.blk == 1 }), "e was never read, b never changed")
			w.Close()
		}
	}
	require.Equal(t, "111100", sc.m.Cache())
	sc.end()
}
