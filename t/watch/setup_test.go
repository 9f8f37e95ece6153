package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Numbers in comments are those of the scenarios that clients of the protocol
// rely on.

// TestWatchOfUnknownFileIsRefused, and the link goes on.
func TestWatchOfUnknownFileIsRefused(t *testing.T) {
	t.Parallel()
	sc := harness.NewScene(t)
	sc.Commit(2)
	sc.Commit(2)
	w := sc.Watcher()
	refused := func(oid zodb.Oid) {
		t.Helper()
		require.Equal(t, fmt.Sprintf("error setup watch f<%s> @%s: file not yet known to wcfs or is not a ZBigFile", oid, sc.At[1]), w.Ask(harness.WatchRequest(oid, sc.At[1])))
		require.Equal(t, fmt.Sprintf("error setup watch f<%s> @ffffffffffffffff: file not yet known to wcfs or is not a ZBigFile", oid), w.Ask("watch "+oid.String()+" -"))
	}
	refused(sc.File.Oid)
	refused(0)
	refused(1<<64 - 1)
	sc.Open()
	w.Watch(sc.File, sc.At[1])
	w.Unwatch(sc.File)
	w.Unwatch(sc.File) // also what is not watched can be removed
	sc.None()
	sc.End()
}

// TestByeCancelsAll: watches and pins under way.
func TestByeCancelsAll(t *testing.T) {
	t.Parallel()
	sc := harness.NewScene(t, "-pintimeout=3s")
	sc.Commit(2)
	sc.Commit(2)
	sc.Map(3)
	sc.Read(2)
	w := sc.ManualWatcher()
	request := w.Send(harness.WatchRequest(sc.File.Oid, sc.At[1]))
	require.Equal(t, harness.WatchPin{Stream: 2, Oid: sc.File.Oid, Blk: 2, Rev: sc.At[1]}, w.Pin())
	future := w.Send(harness.WatchRequest(sc.File.Oid+1, sc.At[2]+1000)) // waits for head
	require.NoError(t, w.Bye())
	w.FD = -1
	for _, r := range []uint64{request, future} {
		_, err := w.TryReply(r)
		require.EqualError(t, err, "link is down: []", "no reply, no message")
	}
	sc.Server.RequireNoLinks()
	sc.Commit(2)
	sc.Read(2)
	sc.End()
}

// TestBadRequestsAreRefused, and the link goes on.
func TestBadRequestsAreRefused(t *testing.T) {
	t.Parallel()
	sc := harness.NewScene(t)
	sc.Open()
	w := sc.Watcher()
	f, at := sc.File.Oid.String(), sc.At[0].String()
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
	// A text that does not fit into a message of 246 bytes is cut.
	long := w.Ask(strings.Repeat("x", 500))
	require.Len(t, long, 246)
	require.True(t, strings.HasPrefix(long, `error bad watch: not a watch request: "xxxxx`), long)
	long = w.Ask(strings.Repeat("é", 300))
	require.LessOrEqual(t, len(long), 246)
	w.Watch(sc.File, sc.At[0])
	sc.End()
}

// TestTooFarBackIsRefused: history has a beginning.
func TestTooFarBackIsRefused(t *testing.T) {
	t.Parallel()
	sc := harness.NewScene(t)
	sc.Commit(2)
	sc.Open()
	w := sc.Watcher()
	for _, back := range []zodb.Tid{1, 1 << 16, 1 << 40} {
		at := sc.At[0] - back
		prefix := fmt.Sprintf("error setup watch f<%s> @%s: too far away back from head/at (@%s); δt = ", sc.File.Oid, at, sc.At[1])
		reply := w.Ask(harness.WatchRequest(sc.File.Oid, at))
		require.True(t, strings.HasPrefix(reply, prefix), reply)
		δt, err := time.ParseDuration(reply[len(prefix):])
		require.NoError(t, err)
		require.InDelta(t, sc.At[1].Time().Sub(at.Time().Time).Seconds(), δt.Seconds(), 1e-5)
	}
	w.Watch(sc.File, sc.At[0]) // where history begins
	// An hour later that is still so for what is watched, and only for that.
	hour := zodb.TidFromTime(sc.At[1].Time().Add(time.Hour))
	sc.Server.WaitAt(sc.Live.CommitAs(hour, func(tx *harness.LiveTx) { tx.Write(sc.File, 2, "later") }))
	sc.Server.WaitAt(sc.Live.CommitAs(hour+1, func(tx *harness.LiveTx) { tx.Write(sc.File, 2, "later still") }))
	w.Watch(sc.File, sc.At[0])
	w.Sees(sc.File)
	w.Expect(sc.File, harness.Pins{})
	other := sc.Watcher()
	require.Contains(t, other.Ask(harness.WatchRequest(sc.File.Oid, sc.At[0]-1)), "too far away back")
	w.Unwatch(sc.File)
	sc.Server.WaitAt(sc.Live.CommitAs(hour+2, func(tx *harness.LiveTx) { tx.Write(sc.File, 2, "and later") }))
	require.Contains(t, other.Ask(harness.WatchRequest(sc.File.Oid, sc.At[0])), "too far away back")
	other.Watch(sc.File, hour)
	other.Sees(sc.File)
	other.Expect(sc.File, harness.Pins{2: hour})
	sc.End()
}

// TestWatchBeforeTheFileIsRefused, also for a file that was made anew.
func TestWatchBeforeTheFileIsRefused(t *testing.T) {
	t.Parallel()
	sc := harness.NewScene(t)
	at1 := sc.Commit(2)
	file2 := sc.Live.NewFile(harness.BlkSize)
	at2 := sc.Live.Head()
	at3 := file2.Commit(harness.Blocks{1: "β3"})
	sc.Server.WaitAt(at3)
	m2 := harness.Map(t, file2.Path(sc.Server, "head"), harness.BlkSize, 2)
	require.Equal(t, []string{"", "β3"}, m2.Blocks(2))
	m2.Close()
	w := sc.Watcher()
	refused := fmt.Sprintf("error setup watch f<%s> @%s: file epoch detected @%s in between (at,head=@%s]", file2.Oid, at1, at2, at3)
	require.Equal(t, refused, w.Ask(harness.WatchRequest(file2.Oid, at1)))
	require.Equal(t, refused, w.Ask(harness.WatchRequest(file2.Oid, at1)), "nothing is half set up (D11)")
	w.Watch(file2, at2)
	w.Expect(file2, harness.Pins{1: at2})
	w.Sees(file2)
	sc.End()
}

// TestGoingBackIsRefused. The watch stays what it was.
func TestGoingBackIsRefused(t *testing.T) {
	t.Parallel()
	sc := harness.NewScene(t)
	at1, at2 := sc.Commit(2), sc.Commit(2)
	sc.Map(3)
	sc.Read(2)
	w := sc.Watching(at2, harness.Pins{})
	back := fmt.Sprintf("error setup watch f<%s> @%s: going back in history is forbidden", sc.File.Oid, at1)
	require.Equal(t, back, w.Ask(harness.WatchRequest(sc.File.Oid, at1)))
	sc.Commit(2)
	sc.Read(2)
	w.Expect(sc.File, harness.Pins{2: at2})
	require.Equal(t, back, w.Ask(harness.WatchRequest(sc.File.Oid, at1)))
	w.Expect(sc.File, harness.Pins{})
	w.Sees(sc.File)
	w.Watch(sc.File, at2) // the same again
	w.Expect(sc.File, harness.Pins{})
	w.Unwatch(sc.File)
	w.Watch(sc.File, at1) // from scratch
	w.Expect(sc.File, harness.Pins{2: at1})
	w.Sees(sc.File)
	sc.End()
}

// TestWatchOfTheFutureWaitsForIt: the answer comes when head is there.
func TestWatchOfTheFutureWaitsForIt(t *testing.T) {
	t.Parallel()
	sc := harness.NewScene(t)
	at1 := sc.Commit(2)
	sc.Map(3)
	sc.Read(2)
	w := sc.Watcher()
	future := at1 + 1<<24 // so many units of 14 ns
	request := w.Send(harness.WatchRequest(sc.File.Oid, future))
	never := w.Send(harness.WatchRequest(sc.File.Oid+1000, 1<<64-2))
	w.Barrier() // other requests are served meanwhile
	require.Empty(t, w.Replies)
	sc.Server.WaitAt(sc.Live.CommitAs(future-1, func(tx *harness.LiveTx) { tx.Write(sc.File, 0, "a2") }))
	w.Barrier()
	require.Empty(t, w.Replies, "head is before what was asked for")
	sc.Server.WaitAt(sc.Live.CommitAs(future+1, func(tx *harness.LiveTx) { tx.Write(sc.File, 1, "b3") }))
	require.Equal(t, "ok", w.Reply(request))
	w.At[sc.File] = future
	w.Expect(sc.File, harness.Pins{}, "block 1 was not read")
	sc.Read(1)
	w.Expect(sc.File, harness.Pins{1: sc.At[0]})
	w.Sees(sc.File)
	w.Mu.Lock()
	require.NotContains(t, w.Replies, never)
	w.Mu.Unlock()
	sc.End()
}

// setupScene has commits to blocks that were read and to others.
func setupScene(t *testing.T) *harness.Scene {
	sc := harness.NewScene(t)
	sc.Commit(2)
	sc.Commit(2, 3, 4, 5)
	sc.Commit(0, 2, 5)
	sc.Map(6)
	sc.Read(0, 1, 2, 3, 5)
	require.Equal(t, "111101", sc.Mapped.Cache())
	sc.Commit(2, 4, 5)
	sc.Commit(3, 5)
	sc.Read(0, 1, 2, 3)
	return sc
}

// TestSetupPinsExactlyWhatChanged: what was read through head and changed
// since, to the last revision before, and nothing else.
func TestSetupPinsExactlyWhatChanged(t *testing.T) {
	t.Parallel()
	sc := setupScene(t)
	at := sc.At
	direct := []harness.Pins{
		{0: at[0], 2: at[0], 3: at[0], 5: at[0]},
		{0: at[0], 2: at[1], 3: at[0], 5: at[0]},
		{0: at[0], 2: at[2], 3: at[2], 5: at[2]},
		{2: at[3], 3: at[2], 5: at[3]},
		{3: at[2], 5: at[4]},
		{},
	}
	for i, want := range direct {
		w := sc.Watching(at[i], want)
		w.Sees(sc.File, 0, 1, 2, 3)
		w.Close()
	}

	w := sc.Watcher()
	for i, want := range []harness.Pins{
		{0: at[0], 2: at[0], 3: at[0], 5: at[0]},
		{2: at[1]},
		{2: at[2], 3: at[2], 5: at[2]},
		{0: harness.ToHead, 2: at[3], 5: at[3]},
		{2: harness.ToHead, 5: at[4]},
		{3: harness.ToHead, 5: harness.ToHead},
	} {
		w.Watch(sc.File, at[i])
		w.Expect(sc.File, want, "move to at%d", i)
		w.Pinned(sc.File, direct[i])
		w.Sees(sc.File, 0, 1, 2, 3)
	}
	w.Close()

	// The pins depend only on where the way ends.
	for set := 1; set < 1<<len(at); set++ {
		var way []int
		for i := range at {
			if set&(1<<i) != 0 {
				way = append(way, i)
			}
		}
		for _, way := range [][]int{way, append([]int{way[0]}, way...)} {
			w := sc.Watcher()
			for _, i := range way {
				w.Watch(sc.File, at[i])
			}
			last := way[len(way)-1]
			w.Pinned(sc.File, direct[last], "way %v", way)
			require.False(t, slices.ContainsFunc(w.Seen, func(p harness.WatchPin) bool { return p.Blk == 4 || p.Blk == 1 }), "e was never read, b never changed")
			w.Close()
		}
	}
	require.Equal(t, "111100", sc.Mapped.Cache())
	sc.End()
}
