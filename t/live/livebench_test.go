package live

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// published commits what change does and returns how long it took from the end
// of the commit until head/at showed it.
func published(b *testing.B, l *harness.Live, zhead *ZHead, change func(tx *harness.LiveTx)) time.Duration {
	b.Helper()
	tid := l.Commit(change)
	start := time.Now()
	zhead.Wait(tid)
	return time.Since(start)
}

// yardstick is what the kernel itself needs for as many pages of memory: to
// write them, and to drop them while they are mapped.
type yardstick struct {
	fd  int
	mem []byte
	buf []byte
}

func newYardstick(b *testing.B, size int) *yardstick {
	b.Helper()
	fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC)
	require.NoError(b, err)
	require.NoError(b, unix.Ftruncate(fd, int64(size)))
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(b, err)
	b.Cleanup(func() {
		require.NoError(b, unix.Munmap(mem))
		unix.Close(fd)
	})
	return &yardstick{fd, mem, make([]byte, size)}
}

func (y *yardstick) run(b *testing.B) (write, drop time.Duration) {
	b.Helper()
	start := time.Now()
	_, err := unix.Pwrite(y.fd, y.buf, 0)
	write = time.Since(start)
	require.NoError(b, err)
	for at := 0; at < len(y.mem); at += 4096 {
		harness.Touched = y.mem[at]
	}
	start = time.Now()
	require.NoError(b, unix.Fallocate(y.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, int64(len(y.mem))))
	return write, time.Since(start)
}

// BenchmarkCommit commits changes of blocks of 2 MiB and waits for head/at. The
// blocks are cached and mapped by another process, or only were once.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int64{1, 16, 128} {
		for _, cached := range []bool{true, false} {
			name := map[bool]string{true: "cached", false: "dropped"}[cached]
			b.Run(fmt.Sprintf("%d blocks/%s", n, name), func(b *testing.B) {
				l := harness.NewLive(b)
				f := l.NewFile(harness.BlkSize)
				write := func(tx *harness.LiveTx) {
					for blk := range n {
						tx.Write(f, blk, "x")
					}
				}
				l.Commit(write)
				s := l.Start()
				zhead := openZHead(s)
				defer zhead.Close()
				m := harness.Map(b, f.Path(s, "head"), harness.BlkSize, n)
				m.Touch(n)
				published(b, l, zhead, write)
				y := newYardstick(b, int(n*harness.BlkSize))
				var times, writes, drops []time.Duration
				for b.Loop() {
					if cached {
						m.Touch(n)
					}
					times = append(times, published(b, l, zhead, write))
					w, d := y.run(b) // interleaved, so that a busy machine slows both
					writes, drops = append(writes, w), append(drops, d)
				}
				took := median(times)
				b.ReportMetric(0, "ns/op") // it has the preparations
				b.ReportMetric(float64(took.Nanoseconds())/1e6, "ms/commit")
				b.ReportMetric(float64(took.Nanoseconds())/1e3/float64(n), "us/block")
				b.ReportMetric(took.Seconds()/median(writes).Seconds(), "x-memfd-write")
				b.ReportMetric(took.Seconds()/median(drops).Seconds(), "x-punch-hole")
				m.Close()
			})
		}
	}
}

// BenchmarkCommitOfNothingServed commits what nobody has read.
func BenchmarkCommitOfNothingServed(b *testing.B) {
	l := harness.NewLive(b)
	f, other := l.NewFile(harness.BlkSize), l.NewFile(4096)
	f.Commit(harness.Blocks{0: "a", 1: "b"})
	s := l.Start()
	f.Check(s, "head", l.Head())
	zhead := openZHead(s)
	defer zhead.Close()
	var times []time.Duration
	for b.Loop() {
		times = append(times, published(b, l, zhead, func(tx *harness.LiveTx) { tx.Write(other, 0, "x") }))
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
			zhead := openZHead(s)
			defer zhead.Close()
			const changed = 16
			file := harness.OpenRandom(b, f.Path(s, "head"))
			defer file.Close()
			var times []time.Duration
			for b.Loop() {
				for i := range int64(4 * changed) {
					harness.Pread(b, file, i*(n/64)*4096, 4096)
				}
				times = append(times, published(b, l, zhead, func(tx *harness.LiveTx) {
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

// BenchmarkUnrelatedReader reads a file around the page cache while blocks of
// another one, cached and mapped by a process, are committed and read again all
// the time. It reports the latencies; how they compare to those when nothing
// happens; and to those when the blocks are only read again and again, which
// takes the same processors from the reader.
func BenchmarkUnrelatedReader(b *testing.B) {
	const nblk, rounds = 16, 10
	l := harness.NewLive(b)
	f, other := l.NewFile(harness.BlkSize), l.NewFile(64<<10)
	write := func(tx *harness.LiveTx) {
		for blk := range int64(nblk) {
			tx.Write(f, blk, "x")
		}
	}
	l.Commit(write)
	other.Commit(harness.Blocks{0: "o"})
	s := l.Start()
	path := f.Path(s, "head")
	zhead := openZHead(s)
	defer zhead.Close()
	m := harness.Map(b, path, harness.BlkSize, nblk)
	fd, err := harness.OpenFile(other.Path(s, "head"), unix.O_RDONLY|unix.O_DIRECT)
	require.NoError(b, err)
	defer unix.Close(fd)
	while := func(times []time.Duration, work func()) []time.Duration {
		return sampleWhile(b, fd, times, func() {
			for range rounds {
				work()
			}
		})
	}
	var idle, reading, commits []time.Duration
	for b.Loop() {
		idle = while(idle, func() { <-time.After(10 * time.Millisecond) })
		reading = while(reading, func() {
			m.Drop()
			m.Touch(nblk)
		})
		commits = while(commits, func() {
			published(b, l, zhead, write)
			m.Touch(nblk)
		})
	}
	b.ReportMetric(0, "ns/op")
	for name, p := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		i, r, c := harness.Percentile(idle, p), harness.Percentile(reading, p), harness.Percentile(commits, p)
		b.ReportMetric(float64(c.Nanoseconds())/1e3, name+"-us")
		b.ReportMetric(c.Seconds()/i.Seconds(), "x-"+name+"-idle")
		b.ReportMetric(c.Seconds()/r.Seconds(), "x-"+name+"-reading")
	}
	m.Close()
}

// sampleWhile adds how long single pages take to be read until work has ended.
func sampleWhile(b *testing.B, fd int, times []time.Duration, work func()) []time.Duration {
	page, ended := aligned(4096), make(chan struct{})
	go func() {
		defer close(ended)
		work()
	}()
	for i := 0; ; i++ {
		start := time.Now()
		_, err := unix.Pread(fd, page, int64(i%16)*4096)
		times = append(times, time.Since(start))
		require.NoError(b, err)
		select {
		case <-ended:
			return times
		default:
		}
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
