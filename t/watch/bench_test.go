package watch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// changedScene has n blocks that were read and all changed in the last commit.
func changedScene(b *testing.B, n int64) (sc *harness.Scene, before zodb.Tid) {
	sc = harness.NewSceneOf(b, 0, 4096)
	write := func(text string) zodb.Tid {
		at := sc.Live.Commit(func(tx *harness.LiveTx) {
			for blk := range n {
				tx.Write(sc.File, blk, fmt.Sprint(text, blk))
			}
		})
		sc.Server.WaitAt(at)
		return at
	}
	before = write("a")
	write("b")
	require.Len(b, harness.Content(b, sc.File.Path(sc.Server, "head")), int(n)*4096)
	return sc, before
}

// BenchmarkPinLatency has READs wait for one pin each.
func BenchmarkPinLatency(b *testing.B) {
	sc := harness.NewSceneOf(b, 0, 4096)
	sc.Commit(0)
	w := sc.Server.Watcher()
	fd, err := harness.OpenFile(sc.File.Path(sc.Server, "head"), unix.O_RDONLY)
	require.NoError(b, err)
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	var times []time.Duration
	for b.Loop() {
		b.StopTimer()
		w.Watch(sc.File, sc.Live.Head())
		sc.Commit(0)
		b.StartTimer()
		start := time.Now()
		_, err := unix.Pread(fd, buf, 0)
		times = append(times, time.Since(start))
		require.NoError(b, err)
	}
	require.GreaterOrEqual(b, w.NPins, len(times))
	b.ReportMetric(float64(harness.Percentile(times, 0.5).Microseconds()), "p50-us")
	b.ReportMetric(float64(harness.Percentile(times, 0.99).Microseconds()), "p99-us")
}

// BenchmarkReadWithWatches reads blocks of a file that so many clients watch,
// none of which needs a pin.
func BenchmarkReadWithWatches(b *testing.B) {
	const nblk = 512
	for _, n := range []int{0, 10, 100, 1000} {
		b.Run(fmt.Sprintf("watches=%d", n), func(b *testing.B) {
			sc, _ := changedScene(b, nblk)
			for range n {
				harness.OpenBareLink(sc.Server).Must(b, harness.WatchRequest(sc.File.Oid, sc.Live.Head()))
			}
			path := sc.File.Path(sc.Server, "head")
			f := harness.OpenRandom(b, path)
			defer f.Close()
			buf := make([]byte, 4096)
			var times []time.Duration
			for i := int64(0); b.Loop(); i++ {
				if i%nblk == 0 {
					b.StopTimer()
					harness.DropPages(b, path)
					b.StartTimer()
				}
				start := time.Now()
				if _, err := unix.Pread(int(f.Fd()), buf, i%nblk*4096); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
			}
			b.ReportMetric(float64(harness.Percentile(times, 0.5).Nanoseconds())/1000, "p50-us")
			b.ReportMetric(float64(harness.Percentile(times, 0.99).Nanoseconds())/1000, "p99-us")
			require.Zero(b, sc.Server.Stats()["pin"])
		})
	}
}

// BenchmarkHeadAt reads head/at, while nobody and while one client is stalled.
func BenchmarkHeadAt(b *testing.B) {
	for _, stalled := range []bool{false, true} {
		b.Run(fmt.Sprintf("stalled=%t", stalled), func(b *testing.B) {
			sc := newStallScene(b)
			if stalled {
				sc.stall()
			}
			fd, err := harness.OpenFile(sc.Server.Path("head/at"), unix.O_RDONLY)
			require.NoError(b, err)
			buf := make([]byte, 16)
			var times []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := unix.Pread(fd, buf, 0); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
			}
			unix.Close(fd)
			if stalled {
				sc.recover()
			}
			b.ReportMetric(float64(harness.Percentile(times, 0.5).Nanoseconds())/1000, "p50-us")
			b.ReportMetric(float64(harness.Percentile(times, 0.99).Nanoseconds())/1000, "p99-us")
		})
	}
}

// BenchmarkManyLinks commits, with and without 1000 links that watch 10 files
// each: how long until head/at shows it, and what memory the links take.
func BenchmarkManyLinks(b *testing.B) {
	for _, links := range []int{0, 1000} {
		b.Run(fmt.Sprintf("links=%d", links), func(b *testing.B) {
			sc := harness.NewSceneOf(b, 0, 4096)
			var files []*harness.LiveFile
			at := sc.Live.Commit(func(tx *harness.LiveTx) {
				for range 10 {
					f := tx.NewFile(4096)
					for blk := range int64(10) {
						tx.Write(f, blk, "text")
					}
					files = append(files, f)
				}
			})
			sc.Server.WaitAt(at)
			for _, f := range files {
				harness.Content(b, f.Path(sc.Server, "head"))
			}
			before := sc.Server.RSS()
			start := time.Now()
			for range links {
				l := harness.OpenBareLink(sc.Server)
				for _, f := range files {
					l.Must(b, harness.WatchRequest(f.Oid, at))
				}
			}
			grown, setup := sc.Server.RSS()-before, time.Since(start)
			var times []time.Duration
			n := 0
			for b.Loop() {
				n++
				at := sc.Live.Commit(func(tx *harness.LiveTx) {
					for _, f := range files {
						tx.Write(f, int64(n%10), strings.Repeat("x", n%100))
					}
				})
				start := time.Now()
				for harness.Content(b, sc.Server.Path("head/at")) != at.String() {
				}
				times = append(times, time.Since(start))
			}
			b.ReportMetric(float64(harness.Percentile(times, 0.5).Microseconds()), "p50-us")
			b.ReportMetric(float64(harness.Percentile(times, 0.99).Microseconds()), "p99-us")
			b.ReportMetric(float64(grown)/1024, "rss-KiB")
			b.ReportMetric(setup.Seconds(), "setup-s")
			require.Equal(b, 10*links, sc.Server.Stats()["Watch"])
		})
	}
}
