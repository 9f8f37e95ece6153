package watch

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// stallScene has a client that will stall, a file that it watches, and another
// one.
type stallScene struct {
	*harness.Scene
	other  *harness.LiveFile
	stuck  *harness.Watcher
	finish func() // of the READ that waits for it
	n      int
}

const stallBlocks = 64

func newStallScene(t testing.TB) *stallScene {
	sc := &stallScene{Scene: harness.NewSceneOf(t, 0, 64<<10, "-pintimeout=20s")}
	sc.other = sc.Live.NewFile(64 << 10)
	sc.Server.WaitAt(sc.Live.Commit(func(tx *harness.LiveTx) {
		for blk := range int64(stallBlocks) {
			tx.Write(sc.File, blk, fmt.Sprint("f", blk))
			tx.Write(sc.other, blk, fmt.Sprint("g", blk))
		}
	}))
	sc.Map(stallBlocks)
	harness.Stat(t, sc.other.Path(sc.Server, "head"))
	sc.stuck = sc.ManualWatcher()
	sc.stuck.Watch(sc.File, sc.Live.Head())
	return sc
}

// stall makes the client owe the acknowledgement of a pin, for which a READ
// waits.
func (sc *stallScene) stall() {
	sc.T.Helper()
	sc.Server.WaitAt(sc.File.Commit(harness.Blocks{0: "new"}))
	sc.finish = sc.StartRead(0)
	sc.stuck.Pin()
}

// recover has the client do what it owes.
func (sc *stallScene) recover() {
	sc.T.Helper()
	sc.StillReading()
	sc.stuck.Auto()
	sc.finish()
}

// measure returns how long the things take that must not wait for the client.
func (sc *stallScene) measure() map[string][]time.Duration {
	sc.T.Helper()
	times := make(map[string][]time.Duration)
	timed := func(what string, f func()) {
		start := time.Now()
		f()
		times[what] = append(times[what], time.Since(start))
	}
	w := sc.Server.Watcher()
	defer w.Close()
	at := sc.Live.Head()
	for range 100 {
		blk := 1 + int64(sc.n)%(stallBlocks-1)
		sc.n++
		timed("another block", func() { require.Equal(sc.T, sc.File.Text(blk, at), sc.cold(sc.File, blk)) })
		timed("another file", func() { require.Equal(sc.T, sc.other.Text(blk, at), sc.cold(sc.other, blk)) })
		timed("head/at", func() { require.Equal(sc.T, at.String(), harness.Content(sc.T, sc.Server.Path("head/at"))) })
		timed("stat", func() { sc.Open() })
		timed("lookup", func() { harness.Stat(sc.T, sc.Server.Path(fmt.Sprintf("@%s", at))) })
		timed("stats", func() { sc.Server.Stats() })
		timed("watch the same file", func() { w.Watch(sc.File, at) })
		timed("watch another file", func() { w.Watch(sc.other, at) })
		w.Unwatch(sc.File)
		w.Unwatch(sc.other)
	}
	for range 10 { // commits of other blocks
		timed("commit", func() {
			blk := 1 + int64(sc.n)%(stallBlocks-1)
			sc.n++
			at := sc.Live.Commit(func(tx *harness.LiveTx) { tx.Write(sc.File, blk, fmt.Sprint("n", sc.n)); tx.Write(sc.other, blk, "o") })
			sc.Server.WaitAt(at)
		})
	}
	return times
}

// cold reads a block that is not cached.
func (sc *stallScene) cold(f *harness.LiveFile, blk int64) string {
	sc.T.Helper()
	file := harness.OpenRandom(sc.T, f.Path(sc.Server, "head"))
	defer file.Close()
	require.NoError(sc.T, unix.Fadvise(int(file.Fd()), blk*f.BlkSize, f.BlkSize, unix.FADV_DONTNEED))
	data := harness.Pread(sc.T, file, blk*f.BlkSize, int(f.BlkSize))
	for i, b := range data {
		if b == 0 {
			return string(data[:i])
		}
	}
	return string(data)
}

// TestStalledClientDelaysNobodyElse: only who reads the same block waits.
func TestStalledClientDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	sc := newStallScene(t)
	idle := sc.measure()
	// From here on the client answers late, and is not to be waited for by
	// others: it maps what changes now from head until it answers.
	sc.stuck.Auto()
	sc.stuck.Watch(sc.File, sc.Live.Head())
	sc.stuck.Change(func() { sc.stuck.Acks = false })
	sc.stall()
	stalled := sc.measure()
	t.Logf("%-20s %10s %10s %10s %10s", "p50 and p99", "idle", "", "stalled", "")
	for what := range idle {
		p := func(times []time.Duration, q float64) time.Duration {
			return harness.Percentile(times, q).Round(time.Microsecond)
		}
		t.Logf("%-20s %10s %10s %10s %10s", what, p(idle[what], 0.5), p(idle[what], 0.99), p(stalled[what], 0.5), p(stalled[what], 0.99))
		require.Less(t, harness.Percentile(stalled[what], 1), 5*time.Second, what)
	}
	sc.recover()
	sc.See(0)
	sc.End()
}
