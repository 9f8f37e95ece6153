package t

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// stallScene has a client that will stall, a file that it watches, and another
// one.
type stallScene struct {
	*scene
	other  *LiveFile
	stuck  *watcher
	finish func() // of the READ that waits for it
	n      int
}

const stallBlocks = 64

func newStallScene(t testing.TB) *stallScene {
	sc := &stallScene{scene: newSceneOf(t, 0, 64<<10, "-pintimeout=20s")}
	sc.other = sc.l.NewFile(64 << 10)
	sc.s.WaitAt(sc.l.Commit(func(tx *LiveTx) {
		for blk := range int64(stallBlocks) {
			tx.Write(sc.f, blk, fmt.Sprint("f", blk))
			tx.Write(sc.other, blk, fmt.Sprint("g", blk))
		}
	}))
	sc.mapped(stallBlocks)
	stat(t, sc.other.Path(sc.s, "head"))
	sc.stuck = sc.manualWatcher()
	sc.stuck.Watch(sc.f, sc.l.Head())
	return sc
}

// stall makes the client owe the acknowledgement of a pin, for which a READ
// waits.
func (sc *stallScene) stall() {
	sc.t.Helper()
	sc.s.WaitAt(sc.f.Commit(Blocks{0: "new"}))
	sc.finish = sc.startRead(0)
	sc.stuck.Pin()
}

// recover has the client do what it owes.
func (sc *stallScene) recover() {
	sc.t.Helper()
	sc.stillReading()
	sc.stuck.Auto()
	sc.finish()
}

// measure returns how long the things take that must not wait for the client.
func (sc *stallScene) measure() map[string][]time.Duration {
	sc.t.Helper()
	times := make(map[string][]time.Duration)
	timed := func(what string, f func()) {
		start := time.Now()
		f()
		times[what] = append(times[what], time.Since(start))
	}
	w := sc.s.watcher()
	defer w.Close()
	at := sc.l.Head()
	for range 100 {
		blk := 1 + int64(sc.n)%(stallBlocks-1)
		sc.n++
		timed("another block", func() { require.Equal(sc.t, sc.f.Text(blk, at), sc.cold(sc.f, blk)) })
		timed("another file", func() { require.Equal(sc.t, sc.other.Text(blk, at), sc.cold(sc.other, blk)) })
		timed("head/at", func() { require.Equal(sc.t, at.String(), content(sc.t, sc.s.Path("head/at"))) })
		timed("stat", func() { sc.open() })
		timed("lookup", func() { stat(sc.t, sc.s.Path(fmt.Sprintf("@%s", at))) })
		timed("stats", func() { sc.s.stats() })
		timed("watch the same file", func() { w.Watch(sc.f, at) })
		timed("watch another file", func() { w.Watch(sc.other, at) })
		w.Unwatch(sc.f)
		w.Unwatch(sc.other)
	}
	for range 10 { // commits of other blocks
		timed("commit", func() {
			blk := 1 + int64(sc.n)%(stallBlocks-1)
			sc.n++
			at := sc.l.Commit(func(tx *LiveTx) { tx.Write(sc.f, blk, fmt.Sprint("n", sc.n)); tx.Write(sc.other, blk, "o") })
			sc.s.WaitAt(at)
		})
	}
	return times
}

// cold reads a block that is not cached.
func (sc *stallScene) cold(f *LiveFile, blk int64) string {
	sc.t.Helper()
	file := openRandom(sc.t, f.Path(sc.s, "head"))
	defer file.Close()
	require.NoError(sc.t, unix.Fadvise(int(file.Fd()), blk*f.BlkSize, f.BlkSize, unix.FADV_DONTNEED))
	data := pread(sc.t, file, blk*f.BlkSize, int(f.BlkSize))
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
	sc.stuck.Watch(sc.f, sc.l.Head())
	sc.stuck.change(func() { sc.stuck.auto = false })
	sc.stall()
	stalled := sc.measure()
	t.Logf("%-20s %10s %10s %10s %10s", "p50 and p99", "idle", "", "stalled", "")
	for what := range idle {
		p := func(times []time.Duration, q float64) time.Duration {
			return percentile(times, q).Round(time.Microsecond)
		}
		t.Logf("%-20s %10s %10s %10s %10s", what, p(idle[what], 0.5), p(idle[what], 0.99), p(stalled[what], 0.5), p(stalled[what], 0.99))
		require.Less(t, percentile(stalled[what], 1), 5*time.Second, what)
	}
	sc.recover()
	sc.see(0)
	sc.end()
}
