package t

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/t/oracle"
)

// resident tells for every block whether all of it is in the page cache.
func resident(t testing.TB, path string, blksize int64) string {
	t.Helper()
	return runHelperProcess(t, "resident", path, fmt.Sprint(blksize))
}

// openRandom opens a file such that the kernel reads exactly what is asked.
func openRandom(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	require.NoError(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM))
	return f
}

func pread(t testing.TB, f *os.File, off int64, n int) []byte {
	t.Helper()
	data := make([]byte, n)
	got, err := unix.Pread(int(f.Fd()), data, off)
	require.NoError(t, err)
	require.Equal(t, n, got)
	return data
}

// BytesRead returns how many bytes the server has read by read(2) and alike,
// from the database and, some bytes per request, from /dev/fuse.
func (s *Server) BytesRead() int64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.Pid()))
	require.NoError(s.t, err)
	found := regexp.MustCompile(`rchar: (\d+)`).FindStringSubmatch(string(text))
	n, err := strconv.ParseInt(found[1], 10, 64)
	require.NoError(s.t, err)
	return n
}

// Reads returns how many READ requests of cached files the server has logged,
// which it does with -trace.fuse. Small files are read by whoever examines
// servers; those are not cached, and the kernel names a lock owner.
func (s *Server) Reads() int { return len(readRequest.FindAllString(s.Log(), -1)) }

var readRequest = regexp.MustCompile(`rx \d+: READ n\d+ \{Fh \d+ \[\d+ \+\d+\)  L 0 `)

func TestReopenedFileKeepsItsPages(t *testing.T) {
	t.Parallel()
	const blksize = 256 << 10
	path, want := BuildDatabase(t, 6, blksize, true)
	s := StartOn(t, path, "-trace.fuse")
	for _, view := range []string{"head", "@" + content(t, s.Path("head/at"))} {
		file := s.Path(view, "bigfile", builtOid.String())
		require.Equal(t, "000000", resident(t, file, blksize))
		for _, blk := range []int64{1, 4} {
			f := openRandom(t, file)
			require.True(t, string(want[blk*blksize:][:blksize]) == string(pread(t, f, blk*blksize, blksize)))
			f.Close()
		}
		require.Equal(t, "010010", resident(t, file, blksize))
		before, reads := s.BytesRead(), s.Reads()
		for range 3 {
			f := openRandom(t, file)
			require.True(t, string(want[blksize:][:blksize]) == string(pread(t, f, blksize, blksize)))
			stat(t, file)
			f.Close()
			require.Equal(t, "010010", resident(t, file, blksize))
		}
		require.Equal(t, reads, s.Reads(), "READ requests for cached pages")
		require.Less(t, s.BytesRead()-before, int64(blksize), "the block was loaded again")
	}
}

// TestSmallReadBringsTheWholeBlock: one page that is asked for makes all of its
// block resident, with one READ and one load of the block.
func TestSmallReadBringsTheWholeBlock(t *testing.T) {
	t.Parallel()
	const blksize = 2 << 20
	path, want := BuildDatabase(t, 4, blksize, true)
	s := StartOn(t, path, "-trace.fuse")
	file := s.Path("head/bigfile", builtOid.String())
	ins := []int64{0, blksize - 4096, 1 << 20, 12288} // where in each block
	for _, blk := range []int64{3, 2, 1, 0} {         // of blocks in a row the next one is loaded too
		in := ins[blk]
		before, reads := s.BytesRead(), s.Reads()
		f := openRandom(t, file)
		off := blk*blksize + in
		require.True(t, string(want[off:][:4096]) == string(pread(t, f, off, 4096)))
		// The reply waits for the rest to be stored, but not for long.
		until(t, "the whole block is resident", func() bool { return resident(t, file, blksize)[blk] == '1' })
		require.True(t, string(want[blk*blksize:][:blksize]) == string(pread(t, f, blk*blksize, blksize)))
		f.Close()
		require.Equal(t, reads+1, s.Reads(), "READ requests for block %d", blk)
		loaded := s.BytesRead() - before
		require.Greater(t, loaded, int64(blksize))
		require.Less(t, loaded, int64(blksize*3/2), "block %d was loaded more than once", blk)
	}
}

// TestRealBigBlocksAreFilled does the same with blocks that Python wrote: a
// hole, a ZBlk0 with a short tail, a hole, and a ZBlk1 with a hole inside.
func TestRealBigBlocksAreFilled(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "py3_pickle3")
	s := Start(t, db.Path)
	zblk := db.Files["zblk"]
	file := s.Path("head/bigfile", zblk.Oid.String())
	require.Equal(t, "0000", resident(t, file, zblk.BlkSize))
	f := openRandom(t, file)
	defer f.Close()
	for blk, now := range []string{"1000", "1100", "1110", "1111"} {
		pread(t, f, int64(blk)*zblk.BlkSize+4096*7, 4096)
		until(t, "blocks "+now+" are resident", func() bool { return resident(t, file, zblk.BlkSize) == now })
	}
	checkFile(t, file, zblk, db.Txns[0].Files["zblk"])
}

// TestManyReadersCauseOneLoadPerBlock lets processes read the same and
// different blocks in small pieces, all in another order.
func TestManyReadersCauseOneLoadPerBlock(t *testing.T) {
	t.Parallel()
	const nblk, blksize = 8, 2 << 20
	path, _ := BuildDatabase(t, nblk, blksize, true)
	s := StartOn(t, path)
	file := s.Path("head/bigfile", builtOid.String())
	stat(t, file)
	before := s.BytesRead()
	var readers []*Helper
	for i := range 8 {
		piece := []int{4096, 16384, 128 << 10, 1 << 20}[i%4]
		readers = append(readers, StartHelper(t, "check", file, fmt.Sprint(blksize), fmt.Sprint(piece), fmt.Sprint(i), "once"))
	}
	for _, r := range readers {
		require.Equal(t, "ready", r.Line())
		r.Tell("go")
	}
	for _, r := range readers {
		require.Equal(t, "done", r.Line())
		require.Zero(t, r.Wait())
	}
	// Requests themselves are read too, 80 bytes each; and blocks ahead of who reads
	// several in a row, which somebody else may have had.
	require.Less(t, s.BytesRead()-before, int64(nblk*blksize*2), "blocks were loaded more than once")
	require.Equal(t, strings.Repeat("1", nblk), resident(t, file, blksize))
	s.Stop()
}

// TestReadersInOneProcess is the same with threads, and with what the kernel
// reads ahead.
func TestReadersInOneProcess(t *testing.T) {
	t.Parallel()
	const nblk, blksize = 8, 1 << 20
	path, want := BuildDatabase(t, nblk, blksize, true)
	s := StartOn(t, path)
	file := s.Path("head/bigfile", builtOid.String())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			f, err := os.Open(file)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			data := make([]byte, 100_000)
			for at := int64(i) * 12345; at < int64(len(want)); at += int64(len(data)) {
				n, _ := f.ReadAt(data, at)
				if string(data[:n]) != string(want[at:][:min(len(data), len(want)-int(at))]) {
					t.Errorf("%d bytes at %d read wrong", n, at)
					return
				}
			}
		})
	}
	wg.Wait()
	s.Stop()
}

// TestKilledReaderHurtsNobody kills readers in the middle of READs that other
// readers wait for as well.
func TestKilledReaderHurtsNobody(t *testing.T) {
	t.Parallel()
	const nblk, blksize = 16, 2 << 20
	path, _ := BuildDatabase(t, nblk, blksize, false)
	for round := range 3 {
		s := StartOn(t, path)
		file := s.Path("head/bigfile", builtOid.String())
		var victims []*Helper
		for range 3 {
			victims = append(victims, StartHelper(t, "check", file, fmt.Sprint(blksize), "4096", fmt.Sprint(round), "same"))
		}
		innocent := StartHelper(t, "check", file, fmt.Sprint(blksize), "4096", fmt.Sprint(round), "same")
		for _, h := range append(victims, innocent) {
			require.Equal(t, "ready", h.Line())
			h.Tell("go")
		}
		for _, v := range victims {
			v.Kill()
		}
		require.Equal(t, "done", innocent.Line())
		require.Zero(t, innocent.Wait())
		s.Stop()
	}
}

// TestStopWhileReading stops a server that is being read: it ends well, what
// was read was right, and who goes on reading is told.
func TestStopWhileReading(t *testing.T) {
	t.Parallel()
	const nblk, blksize = 16, 2 << 20
	path, _ := BuildDatabase(t, nblk, blksize, true)
	for range 3 {
		s := StartOn(t, path)
		file := s.Path("head/bigfile", builtOid.String())
		var readers []*Helper
		for i := range 3 {
			readers = append(readers, StartHelper(t, "check", file, fmt.Sprint(blksize), "4096", fmt.Sprint(i), "until-error"))
		}
		for _, r := range readers {
			require.Equal(t, "ready", r.Line())
			r.Tell("go")
			require.Equal(t, "reading", r.Line())
		}
		s.Signal(os.Interrupt)
		require.Zero(t, s.WaitExit(), s.Log())
		require.Empty(t, wcfsMounts(s.Dir))
		for _, r := range readers {
			require.Contains(t, []string{"ENOTCONN", "ECONNABORTED"}, r.Line())
			require.Zero(t, r.Wait())
		}
	}
}
