package perf

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// direct reads single pages around the page cache: each is a round trip to the server.
type direct struct {
	tb   testing.TB
	fd   int
	page []byte
}

func openDirect(tb testing.TB, path string) *direct {
	tb.Helper()
	fd, err := harness.OpenFile(path, unix.O_RDONLY|unix.O_DIRECT)
	require.NoError(tb, err)
	mem := make([]byte, 2*pageSize)
	skip := pageSize - int(uintptr(unsafe.Pointer(&mem[0]))%pageSize)
	return &direct{tb, fd, mem[skip:][:pageSize]}
}

// roundTrips returns how long n round trips take.
func (d *direct) roundTrips(n int) time.Duration {
	start := time.Now()
	for i := range n {
		_, err := unix.Pread(d.fd, d.page, int64(i%16)*pageSize)
		require.NoError(d.tb, err)
	}
	return time.Since(start)
}

func (d *direct) close() { unix.Close(d.fd) }

// watches has the rows of watches: how long it takes to set them up and to move them. The
// yardstick is round trips to C: a message and its answer take two.
func (t *Table) watches(b *testing.B, program string) {
	y := startYardstick(b, program, blkSize)
	trips := openDirect(b, y.path())
	t.setups(b, trips)
	t.resync(b, trips)
	trips.close()
	y.Stop()
}

// setups has the rows of watches that need no pin, and those that need many.
func (t *Table) setups(b *testing.B, trips *direct) {
	const pins = 1000
	w := newWritten(b, pageSize, pins)
	before := w.Head()
	w.published(0, pins)
	require.Len(b, harness.Content(b, w.path()), pins*pageSize)
	link := harness.OpenBareLink(w.server)
	link.Each = true // as clients do, which map a block for each pin
	setup := func(at zodb.Tid) time.Duration {
		start := time.Now()
		link.Must(b, harness.WatchRequest(w.file.Oid, at))
		took := time.Since(start)
		link.Must(b, "watch "+w.file.Oid.String()+" -")
		return took
	}
	t.compare(b, Row{Name: "watch, 0 pins", Unit: "ms", Than: "2 round trips", Target: valueAtMost(0.12)},
		func() []float64 { return times(30, func() time.Duration { return setup(w.Head()) }) },
		func() []float64 { return times(30, func() time.Duration { return trips.roundTrips(2) }) })
	require.Zero(b, link.NPins)
	var all []float64
	t.compare(b, Row{Name: fmt.Sprintf("watch, %d pins", pins), Unit: "ms", Than: fmt.Sprint(pins, " round trips"), Target: valueAtMost(35)},
		func() []float64 {
			took := times(3, func() time.Duration { return setup(before) })
			all = append(all, took...)
			return took
		},
		func() []float64 { return times(3, func() time.Duration { return trips.roundTrips(pins) }) })
	require.Equal(b, pins*len(all), link.NPins)
	t.compare(b, Row{Name: "pins", Unit: "1/s", Than: "round trips", Target: valueAtLeast(30_000)},
		func() []float64 { return []float64{pins / setup(before).Seconds()} },
		func() []float64 { return []float64{pins / trips.roundTrips(pins).Seconds()} })
	link.Bye()
}

// times measures in milliseconds.
func times(n int, measure func() time.Duration) (samples []float64) {
	for range n {
		samples = append(samples, in(time.Millisecond, measure())...)
	}
	return samples
}

// resync has the row of many watches that are moved to head, where blocks that were pinned
// are to be unpinned.
func (t *Table) resync(b *testing.B, trips *direct) {
	const blocks = 16
	w := newWritten(b, pageSize, blocks)
	require.Len(b, harness.Content(b, w.path()), blocks*pageSize)
	watchers := startWatchers(w.server, idleWatches)
	watchers.watch(w.file, w.Head())
	r := Row{Name: fmt.Sprintf("resync of %d watches, %d pins each", idleWatches, blocks), Unit: "ms", Than: "as many round trips", Target: valueAtMost(50)}
	t.compare(b, r,
		func() []float64 {
			w.published(0, blocks)
			require.Len(b, harness.Content(b, w.path()), blocks*pageSize)
			took, _ := watchers.watch(w.file, w.Head())
			return in(time.Millisecond, took)
		},
		func() []float64 { return in(time.Millisecond, trips.roundTrips(idleWatches*(blocks+1))) })
	_, pins := watchers.watch(w.file, w.Head())
	require.Positive(b, pins)
	require.Zero(b, pins%(2*blocks*idleWatches), "each round has pins, and unpins of them")
	watchers.end()
}

// readers has the row of a reader who has nothing to do with commits: how long the slowest
// of its READs take while there are commits, beside those while there are none.
func (t *Table) readers(b *testing.B) {
	const blocks, rounds = 16, 10
	w := newWritten(b, blkSize, blocks)
	other := w.NewFile(64 << 10)
	other.Commit(harness.Blocks{0: "o"})
	w.zhead.Wait(w.Head())
	m := harness.Map(b, w.path(), blkSize, blocks)
	d := openDirect(b, other.Path(w.server, "head"))
	while := func(work func()) Measured {
		return func() []float64 {
			return in(time.Microsecond, d.sampleWhile(func() {
				for range rounds {
					work()
				}
			})...)
		}
	}
	idle := while(func() { <-time.After(10 * time.Millisecond) })
	commits := while(func() {
		w.published(0, blocks)
		m.Touch(blocks)
	})
	t.compare(b, Row{Name: "unrelated reader during commits, p99", Unit: "us", Than: "idle", Target: ratioAtMost(2), share: 0.99}, commits, idle)
	d.close()
	m.Close()
}

// sampleWhile returns how long single pages take to be read until work has ended.
func (d *direct) sampleWhile(work func()) (times []time.Duration) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		work()
	}()
	for {
		times = append(times, d.roundTrips(1))
		select {
		case <-ended:
			return times
		default:
		}
	}
}
