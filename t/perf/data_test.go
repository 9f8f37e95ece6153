package perf

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// nblk is how many blocks are read at once: 128 MiB.
const nblk = 64

// sources are files with the same size: of wcfs in both formats of blocks, and of the
// yardstick.
type sources struct {
	Reader
	server       *harness.Server
	zblk0, zblk1 string
	yardstick    *Yardstick
}

// newSources has all data in the page cache of the filesystem that has the database.
func newSources(b *testing.B, program string) *sources {
	b.Helper()
	l := harness.NewLive(b)
	zblk0, zblk1 := l.NewFile(blkSize), l.NewFile(blkSize)
	for blk := range int64(nblk) {
		text := noise()
		zblk0.Commit(harness.Blocks{blk: text})
		zblk1.CommitChunks(blk, text)
	}
	l.Forget()
	s := l.Start()
	src := &sources{startReader(b), s, zblk0.Path(s, "head"), zblk1.Path(s, "head"), startYardstick(b, program, nblk*blkSize)}
	for _, path := range []string{src.zblk0, src.zblk1, src.yardstick.path()} {
		src.cold(byRead, 1, path)
	}
	return src
}

// noise is the content of a block: a ZBlk1 has all of its chunks.
func noise() string {
	text := make([]byte, blkSize)
	for i := range text {
		text[i] = byte(1 + rand.IntN(255))
	}
	return string(text)
}

// cold returns the speed of reading a file that is not in the page cache, in GB/s.
func (s *sources) cold(how string, threads int, path string) float64 {
	s.drop(path)
	return nblk * blkSize / 1e9 / s.read(how, threads, nblk, path).Seconds()
}

// data has the rows of reading.
func (t *Table) data(b *testing.B, program string) {
	s := newSources(b, program)
	for _, format := range []struct {
		name, path      string
		speed, cpu, few Target
	}{
		{name: "ZBlk0", path: s.zblk0, speed: ratioAtLeast(0.9), cpu: ratioAtMost(1.1), few: ratioAtMost(3)},
		{name: "ZBlk1", path: s.zblk1, speed: ratioAtLeast(0.6), cpu: valueAtMost(1), few: ratioAtMost(6)},
	} {
		t.sequential(b, s, format.name, format.path, format.speed)
		t.processor(b, s, format.name, format.path, format.cpu)
		t.few(b, s, format.name, format.path, format.few)
	}
	t.wholeBlock(b, s)
	t.hot(b, s)
	s.Kill()
	s.yardstick.Stop()
}

// sequential has the rows of reading all of a file, in order.
func (t *Table) sequential(b *testing.B, s *sources, format, path string, target Target) {
	for _, way := range []struct {
		name    string
		how     string
		threads int
	}{
		{"read", byRead, 1}, {"mmap, 1 thread", byMmap, 1}, {"mmap, 4 threads", byMmap, 4},
		{"HUGE+RANDOM, 1 thread", byHuge, 1}, {"HUGE+RANDOM, 4 threads", byHuge, 4},
	} {
		t.compare(b, Row{Name: "cold " + format + ", " + way.name, Unit: "GB/s", Than: "C", Target: target},
			func() []float64 { return []float64{s.cold(way.how, way.threads, path)} },
			func() []float64 { return []float64{s.cold(way.how, way.threads, s.yardstick.path())} })
	}
}

// processor has the row of what the server needs of processors to have a file read.
func (t *Table) processor(b *testing.B, s *sources, format, path string, target Target) {
	perGiB := func(pid int, path string) []float64 {
		before := processTime(b, pid)
		s.cold(byRead, 1, path)
		return []float64{(processTime(b, pid) - before).Seconds() * (1 << 30) / (nblk * blkSize)}
	}
	t.compare(b, Row{Name: "processor time, " + format, Unit: "s/GiB", Than: "C", Target: target},
		func() []float64 { return perGiB(s.server.Pid(), path) },
		func() []float64 { return perGiB(s.yardstick.Cmd.Process.Pid, s.yardstick.path()) })
}

// processTime returns how long all threads of a process have run on processors.
func processTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	var ts unix.Timespec
	clock := int32(^pid<<3 | 2) // clock_getcpuclockid(3)
	require.NoError(b, unix.ClockGettime(clock, &ts))
	return time.Duration(ts.Nano())
}

// few has the rows of reading a page of a block of which nothing is cached.
func (t *Table) few(b *testing.B, s *sources, format, path string, target Target) {
	for _, way := range []struct{ name, how string }{{"pread", byPread}, {"page fault", byMmap}} {
		r := Row{Name: "4 KiB of a cold " + format + ", " + way.name, Unit: "us", Than: "C", Target: target}
		t.compare(b, r, s.touches(way.how, path), s.touches(way.how, s.yardstick.path()))
	}
}

// touches measures first touches of all blocks, each round in another order.
func (s *sources) touches(how, path string) Measured {
	seed := 0
	return func() []float64 {
		seed++
		s.drop(path)
		return in(time.Microsecond, s.touch(how, seed, nblk, path)...)
	}
}

// wholeBlock has the rows of page faults that bring a block each.
func (t *Table) wholeBlock(b *testing.B, s *sources) {
	ours, theirs := s.touches(byHuge, s.zblk0), s.touches(byHuge, s.yardstick.path())
	const name = "fault of a whole ZBlk0, "
	t.compare(b, Row{Name: name + "median", Unit: "us", Than: "C", Target: ratioAtMost(1.2)}, ours, theirs)
	t.compare(b, Row{Name: name + "p99", Unit: "us", Than: "its median", Target: ratioAtMost(3), share: 0.99}, ours, nil)
}

// hot has the row of a scan of a new mapping of what is in the page cache.
func (t *Table) hot(b *testing.B, s *sources) {
	shm, err := os.MkdirTemp("/dev/shm", "wcfs-perf-")
	require.NoError(b, err)
	defer os.RemoveAll(shm)
	memory := filepath.Join(shm, "data")
	require.NoError(b, os.WriteFile(memory, make([]byte, nblk*blkSize), 0o644))
	s.cold(byRead, 1, s.zblk0)
	scan := func(path string) Measured {
		return func() (speeds []float64) {
			for range 5 {
				speeds = append(speeds, nblk*blkSize/1e9/s.read(bySum, 1, nblk, path).Seconds())
			}
			return speeds
		}
	}
	t.compare(b, Row{Name: "hot scan of a new mapping", Unit: "GB/s", Than: "tmpfs", Target: ratioAtLeast(1)}, scan(s.zblk0), scan(memory))
}
