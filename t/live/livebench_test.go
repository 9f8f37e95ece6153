package live

import (
	"fmt"
	"testing"
	"time"

	"github.com/wcfs/wcfs/t/harness"
)

// BenchmarkCommitOfNothingServed commits what nobody has read.
func BenchmarkCommitOfNothingServed(b *testing.B) {
	l := harness.NewLive(b)
	f, other := l.NewFile(harness.BlkSize), l.NewFile(4096)
	f.Commit(harness.Blocks{0: "a", 1: "b"})
	s := l.Start()
	f.Check(s, "head", l.Head())
	zhead := harness.OpenZHead(s)
	defer zhead.Close()
	var times []time.Duration
	for b.Loop() {
		times = append(times, zhead.Published(l, func(tx *harness.LiveTx) { tx.Write(other, 0, "x") }))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(harness.Percentile(times, 0.5).Nanoseconds())/1e3, "p50-us")
	b.ReportMetric(float64(harness.Percentile(times, 0.99).Nanoseconds())/1e3, "p99-us")
}

// newArray makes a file of n blocks of one page in one commit.
func newArray(b *testing.B, l *harness.Live, n int64) (f *harness.LiveFile) {
	b.Helper()
	l.Commit(func(tx *harness.LiveTx) {
		f = tx.NewFile(4096)
		for blk := range n {
			tx.Write(f, blk, "x")
		}
	})
	return f
}

// BenchmarkCommitByFileSize changes the same number of blocks in files of any
// size: it must take the same time.
func BenchmarkCommitByFileSize(b *testing.B) {
	var build time.Duration
	for _, n := range []int64{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if build > 6*time.Second {
				b.Skip("would take more than a minute to build")
			}
			l := harness.NewLive(b)
			start := time.Now()
			f := newArray(b, l, n)
			build = time.Since(start)
			s := l.Start()
			zhead := harness.OpenZHead(s)
			defer zhead.Close()
			const changed = 16
			file := harness.OpenRandom(b, f.Path(s, "head"))
			defer file.Close()
			var times []time.Duration
			for b.Loop() {
				for i := range int64(4 * changed) {
					harness.Pread(b, file, i*(n/64)*4096, 4096)
				}
				times = append(times, zhead.Published(l, func(tx *harness.LiveTx) {
					for i := range int64(changed) {
						tx.Write(f, i*4*(n/64), "y")
					}
				}))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(build.Seconds(), "s-build")
			b.ReportMetric(float64(harness.Percentile(times, 0.5).Nanoseconds())/1e3, "p50-us")
			b.ReportMetric(float64(harness.Percentile(times, 0.99).Nanoseconds())/1e3, "p99-us")
		})
	}
}

// BenchmarkMemoryOfServedBlocks reads many small blocks and reports what the
// server keeps for each.
func BenchmarkMemoryOfServedBlocks(b *testing.B) {
	const n = 200_000
	l := harness.NewLive(b)
	f := newArray(b, l, n)
	s := l.Start()
	harness.Stat(b, f.Path(s, "head"))
	buf := make([]byte, 1<<20)
	var per float64
	for b.Loop() {
		before := s.RSS()
		readAll(b, f.Path(s, "head"), buf)
		per = max(per, float64(s.RSS()-before)/n)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(per, "B/served-block")
}
