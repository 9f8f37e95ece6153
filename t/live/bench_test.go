package live

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

const (
	benchBlocks  = 64
	benchBlkSize = 2 << 20
	benchBytes   = benchBlocks * benchBlkSize
)

// readAll reads a whole file with read(2) of a block each, as clients do.
func readAll(b *testing.B, path string, buf []byte) time.Duration {
	b.Helper()
	fd, err := harness.OpenFile(path, unix.O_RDONLY)
	require.NoError(b, err)
	defer unix.Close(fd)
	start := time.Now()
	for {
		n, err := unix.Read(fd, buf)
		require.NoError(b, err)
		if n == 0 {
			return time.Since(start)
		}
	}
}

// writeMemfd writes as many bytes into fresh memory of the kernel: what any
// way to fill a page cache has to do.
func writeMemfd(b *testing.B, buf []byte) time.Duration {
	b.Helper()
	fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC)
	require.NoError(b, err)
	defer unix.Close(fd)
	start := time.Now()
	for range benchBlocks {
		_, err := unix.Write(fd, buf)
		require.NoError(b, err)
	}
	return time.Since(start)
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// BenchmarkColdSequentialRead reads 128 MiB that are not in the page cache of
// the mount, while the data file is in that of its filesystem. It reports the
// speed relative to reading the same bytes from the data file, and to writing
// them into fresh memory.
func BenchmarkColdSequentialRead(b *testing.B) {
	path, _ := harness.BuildDatabase(b, benchBlocks, benchBlkSize, true)
	s := harness.StartOn(b, path)
	file := s.Path("head/bigfile", harness.BuiltOid.String())
	buf := make([]byte, benchBlkSize)
	readAll(b, path, buf)
	var cold, plain, memfd []time.Duration
	b.SetBytes(benchBytes)
	for b.Loop() { // interleaved, so that a busy machine slows all of them
		harness.DropPages(b, file)
		cold = append(cold, readAll(b, file, buf))
		plain = append(plain, readAll(b, path, buf))
		memfd = append(memfd, writeMemfd(b, buf))
	}
	took := median(cold).Seconds()
	b.ReportMetric(benchBytes/took/1e9, "GB/s")
	b.ReportMetric(median(plain).Seconds()/took, "x-plain-read")
	b.ReportMetric(median(memfd).Seconds()/took, "x-memfd-write")
}

// BenchmarkColdSmallRead reads one page of a block that nobody has touched.
func BenchmarkColdSmallRead(b *testing.B) {
	path, _ := harness.BuildDatabase(b, benchBlocks, benchBlkSize, true)
	s := harness.StartOn(b, path)
	readAll(b, path, make([]byte, benchBlkSize))
	file := s.Path("head/bigfile", harness.BuiltOid.String())
	f := harness.OpenRandom(b, file)
	defer f.Close()
	page := make([]byte, 4096)
	var times []time.Duration
	for i := 0; b.Loop(); i++ {
		if i%benchBlocks == 0 {
			harness.DropPages(b, file)
		}
		off := int64(i*37%benchBlocks)*benchBlkSize + int64(i*4096%benchBlkSize)
		start := time.Now()
		_, err := unix.Pread(int(f.Fd()), page, off)
		times = append(times, time.Since(start))
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(harness.Percentile(times, 0.5).Microseconds()), "p50-us")
	b.ReportMetric(float64(harness.Percentile(times, 0.99).Microseconds()), "p99-us")
}

// BenchmarkLookup looks views up that the kernel does not know.
func BenchmarkLookup(b *testing.B) {
	s := harness.Start(b, "topo")
	start := time.Now()
	i := 0
	for ; b.Loop(); i++ {
		var st unix.Stat_t
		path := filepath.Join(s.Dir, fmt.Sprintf("@%016x", i+1))
		if err := harness.Uninterrupted(func() error { return unix.Lstat(path, &st) }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(i)/time.Since(start).Seconds(), "lookups/s")
}

// BenchmarkCachedScan sums up a mapped file that is in the page cache, with the
// time of the same with a file on tmpfs.
func BenchmarkCachedScan(b *testing.B) {
	path, content := harness.BuildDatabase(b, benchBlocks, benchBlkSize, true)
	s := harness.StartOn(b, path)
	shm, err := os.MkdirTemp("/dev/shm", "wcfs-bench-")
	require.NoError(b, err)
	b.Cleanup(func() { os.RemoveAll(shm) })
	memory := filepath.Join(shm, "data")
	require.NoError(b, os.WriteFile(memory, content, 0o644))
	file := s.Path("head/bigfile", harness.BuiltOid.String())
	readAll(b, file, make([]byte, benchBlkSize))
	ours, theirs := harness.StartHelper(b, "scan", file), harness.StartHelper(b, "scan", memory)
	scan := func(h *harness.Helper) time.Duration {
		ns, err := strconv.Atoi(strings.Fields(h.Ask("scan"))[0])
		require.NoError(b, err)
		return time.Duration(ns)
	}
	firstOurs, firstTheirs := scan(ours), scan(theirs) // with page faults
	var timesOurs, timesTheirs []time.Duration
	b.SetBytes(benchBytes)
	for b.Loop() {
		timesOurs, timesTheirs = append(timesOurs, scan(ours)), append(timesTheirs, scan(theirs))
	}
	b.ReportMetric(benchBytes/median(timesOurs).Seconds()/1e9, "GB/s")
	b.ReportMetric(median(timesTheirs).Seconds()/median(timesOurs).Seconds(), "x-tmpfs")
	b.ReportMetric(firstTheirs.Seconds()/firstOurs.Seconds(), "x-tmpfs-first")
	ours.Kill() // before the mount goes
}
