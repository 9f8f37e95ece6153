package live

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"github.com/wcfs/wcfs/t/oracle"
)

// resident tells for every block whether all of it is in the page cache.
func resident(t testing.TB, path string, blksize int64) string {
	t.Helper()
	return harness.RunHelper(t, "resident", path, fmt.Sprint(blksize))
}

// BytesRead returns how many bytes the server has read by read(2) and alike,
// from the database and, some bytes per request, from /dev/fuse.
func BytesRead(s *harness.Server) int64 {
	s.T.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.Pid()))
	require.NoError(s.T, err)
	found := regexp.MustCompile(`rchar: (\d+)`).FindStringSubmatch(string(text))
	n, err := strconv.ParseInt(found[1], 10, 64)
	require.NoError(s.T, err)
	return n
}

// Reads returns how many READ requests of cached files the server has logged,
// which it does with -trace.fuse. Small files are read by whoever examines
// servers; those are not cached, and the kernel names a lock owner.
func Reads(s *harness.Server) int { return len(readRequest.FindAllString(s.Log(), -1)) }

var readRequest = regexp.MustCompile(`rx \d+: READ n\d+ \{Fh \d+ \[\d+ \+\d+\)  L 0 `)

func TestReopenedFileKeepsItsPages(t *testing.T) {
	t.Parallel()
	const blksize = 256 << 10
	path, want := harness.BuildDatabase(t, 6, blksize, true)
	s := harness.StartOn(t, path, "-trace.fuse")
	for _, view := range []string{"head", "@" + harness.Content(t, s.Path("head/at"))} {
		file := s.Path(view, "bigfile", harness.BuiltOid.String())
		require.Equal(t, "000000", resident(t, file, blksize))
		for _, blk := range []int64{1, 4} {
			f := harness.OpenRandom(t, file)
			require.True(t, string(want[blk*blksize:][:blksize]) == string(harness.Pread(t, f, blk*blksize, blksize)))
			f.Close()
		}
		require.Equal(t, "010010", resident(t, file, blksize))
		before, reads := BytesRead(s), Reads(s)
		for range 3 {
			f := harness.OpenRandom(t, file)
			require.True(t, string(want[blksize:][:blksize]) == string(harness.Pread(t, f, blksize, blksize)))
			harness.Stat(t, file)
			f.Close()
			require.Equal(t, "010010", resident(t, file, blksize))
		}
		require.Equal(t, reads, Reads(s), "READ requests for cached pages")
		require.Less(t, BytesRead(s)-before, int64(blksize), "the block was loaded again")
	}
}

// TestSmallReadBringsTheWholeBlock: one page that is asked for makes all of its
// block resident, with one READ and one load of the block.
func TestSmallReadBringsTheWholeBlock(t *testing.T) {
	t.Parallel()
	const blksize = 2 << 20
	path, want := harness.BuildDatabase(t, 4, blksize, true)
	s := harness.StartOn(t, path, "-trace.fuse")
	file := s.Path("head/bigfile", harness.BuiltOid.String())
	ins := []int64{0, blksize - 4096, 1 << 20, 12288} // where in each block
	for _, blk := range []int64{3, 2, 1, 0} {         // of blocks in a row the next one is loaded too
		in := ins[blk]
		before, reads := BytesRead(s), Reads(s)
		f := harness.OpenRandom(t, file)
		off := blk*blksize + in
		require.True(t, string(want[off:][:4096]) == string(harness.Pread(t, f, off, 4096)))
		// The reply waits for the rest to be stored, but not for long.
		harness.Until(t, "the whole block is resident", func() bool { return resident(t, file, blksize)[blk] == '1' })
		require.True(t, string(want[blk*blksize:][:blksize]) == string(harness.Pread(t, f, blk*blksize, blksize)))
		f.Close()
		require.Equal(t, reads+1, Reads(s), "READ requests for block %d", blk)
		loaded := BytesRead(s) - before
		require.Greater(t, loaded, int64(blksize))
		require.Less(t, loaded, int64(blksize*3/2), "block %d was loaded more than once", blk)
	}
}

// TestRealBigBlocksAreFilled does the same with blocks that Python wrote: a
// hole, a ZBlk0 with a short tail, a hole, and a ZBlk1 with a hole inside.
func TestRealBigBlocksAreFilled(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "py3_pickle3")
	s := harness.Start(t, db.Path)
	zblk := db.Files["zblk"]
	file := s.Path("head/bigfile", zblk.Oid.String())
	require.Equal(t, "0000", resident(t, file, zblk.BlkSize))
	f := harness.OpenRandom(t, file)
	defer f.Close()
	for blk, now := range []string{"1000", "1100", "1110", "1111"} {
		harness.Pread(t, f, int64(blk)*zblk.BlkSize+4096*7, 4096)
		harness.Until(t, "blocks "+now+" are resident", func() bool { return resident(t, file, zblk.BlkSize) == now })
	}
	checkFile(t, file, zblk, db.Txns[0].Files["zblk"])
}

// TestManyReadersCauseOneLoadPerBlock lets processes read the same and
// different blocks in small pieces, all in another order.
func TestManyReadersCauseOneLoadPerBlock(t *testing.T) {
	t.Parallel()
	const nblk, blksize = 8, 2 << 20
	path, _ := harness.BuildDatabase(t, nblk, blksize, true)
	s := harness.StartOn(t, path)
	file := s.Path("head/bigfile", harness.BuiltOid.String())
	harness.Stat(t, file)
	before := BytesRead(s)
	var readers []*harness.Helper
	for i := range 8 {
		piece := []int{4096, 16384, 128 << 10, 1 << 20}[i%4]
		readers = append(readers, harness.StartHelper(t, "check", file, fmt.Sprint(blksize), fmt.Sprint(piece), fmt.Sprint(i), "once"))
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
	require.Less(t, BytesRead(s)-before, int64(nblk*blksize*2), "blocks were loaded more than once")
	require.Equal(t, strings.Repeat("1", nblk), resident(t, file, blksize))
	s.Stop()
}

// TestReadersInOneProcess is the same with threads, and with what the kernel
// reads ahead.
func TestReadersInOneProcess(t *testing.T) {
	t.Parallel()
	const nblk, blksize = 8, 1 << 20
	path, want := harness.BuildDatabase(t, nblk, blksize, true)
	s := harness.StartOn(t, path)
	file := s.Path("head/bigfile", harness.BuiltOid.String())
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
	path, _ := harness.BuildDatabase(t, nblk, blksize, false)
	for round := range 3 {
		s := harness.StartOn(t, path)
		file := s.Path("head/bigfile", harness.BuiltOid.String())
		var victims []*harness.Helper
		for range 3 {
			victims = append(victims, harness.StartHelper(t, "check", file, fmt.Sprint(blksize), "4096", fmt.Sprint(round), "same"))
		}
		innocent := harness.StartHelper(t, "check", file, fmt.Sprint(blksize), "4096", fmt.Sprint(round), "same")
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
	path, _ := harness.BuildDatabase(t, nblk, blksize, true)
	for range 3 {
		s := harness.StartOn(t, path)
		file := s.Path("head/bigfile", harness.BuiltOid.String())
		var readers []*harness.Helper
		for i := range 3 {
			readers = append(readers, harness.StartHelper(t, "check", file, fmt.Sprint(blksize), "4096", fmt.Sprint(i), "until-error"))
		}
		for _, r := range readers {
			require.Equal(t, "ready", r.Line())
			r.Tell("go")
			require.Equal(t, "reading", r.Line())
		}
		s.Signal(os.Interrupt)
		require.Zero(t, s.WaitExit(), s.Log())
		require.Empty(t, harness.Mounts(s.Dir))
		for _, r := range readers {
			require.Contains(t, []string{"ENOTCONN", "ECONNABORTED"}, r.Line())
			require.Zero(t, r.Wait())
		}
	}
}
