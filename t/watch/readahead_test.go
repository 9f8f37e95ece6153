package watch

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// helperCachedPages prints for every block how many pages of it are in the page
// cache. Arguments: file, block size.
func helperCachedPages(args []string) error {
	mem, err := harness.MapFile(args[0])
	if err != nil {
		return err
	}
	blksize, _ := strconv.Atoi(args[1])
	page := os.Getpagesize()
	vec := make([]byte, len(mem)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), uintptr(unsafe.Pointer(&vec[0]))); errno != 0 {
		return fmt.Errorf("mincore: %w", errno)
	}
	for at := 0; at < len(vec); at += blksize / page {
		n := 0
		for _, v := range vec[at : at+blksize/page] {
			n += int(v & 1)
		}
		fmt.Print(n, " ")
	}
	return nil
}

// cachedPages returns for every block of head how many pages of it are cached.
func cachedPages(sc *harness.Scene) (counts []int) {
	sc.T.Helper()
	for _, field := range strings.Fields(harness.RunHelper(sc.T, "cached-pages", sc.File.Path(sc.Server, "head"), fmt.Sprint(sc.File.BlkSize))) {
		n, err := strconv.Atoi(field)
		require.NoError(sc.T, err)
		counts = append(counts, n)
	}
	return counts
}

// requireCached waits until exactly these blocks are cached, as a whole. The rest
// of a block may come a moment later than what was asked for.
func requireCached(sc *harness.Scene, nblk int, blks ...int64) {
	sc.T.Helper()
	want := make([]int, nblk)
	for _, blk := range blks {
		want[blk] = int(sc.File.BlkSize) / os.Getpagesize()
	}
	var got []int
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if got = cachedPages(sc); fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
	}
	require.Equal(sc.T, want, got, "pages of each block in the page cache")
}

// loads returns how many blocks were loaded from the database so far.
func loads(s *harness.Server) int { return int(s.Metrics()[`block_loads_total{source="zodb"}`]) }

// changedFile is a scene of a file of n blocks of the usual size, all of which have
// changed since the view that is returned, and who watches it at that view.
func changedFile(t *testing.T, n int64) (*harness.Scene, zodb.Tid, *harness.Watcher) {
	sc := harness.NewScene(t)
	blocks := func(text string) harness.Blocks {
		b := harness.Blocks{}
		for blk := range n {
			b[blk] = fmt.Sprint(text, blk)
		}
		return b
	}
	at1 := sc.CommitBlocks(blocks("old"))
	sc.CommitBlocks(blocks("new"))
	sc.Open()
	w := sc.Watching(at1, harness.Pins{})
	return sc, at1, w
}

// reader starts a process that reads and maps head as most programs do: without any
// advice to the kernel.
func reader(sc *harness.Scene) *harness.Helper {
	sc.T.Helper()
	h := harness.StartHelper(sc.T, "hold", sc.File.Path(sc.Server, "head"))
	require.Equal(sc.T, "ready", h.Line())
	return h
}

// TestTouchingABlockBringsThatBlock: whoever touches a part of a block, by whatever
// means, has that block cached, and no other one loaded or pinned.
func TestTouchingABlockBringsThatBlock(t *testing.T) {
	t.Parallel()
	const nblk = 8
	sc, at1, w := changedFile(t, nblk)
	h := reader(sc)
	before := loads(sc.Server)
	for _, c := range []struct {
		how  string
		blk  int64
		off  int64
		want []int64
	}{
		{"touch", 1, harness.BlkSize / 2, []int64{1}},
		{"read", 4, harness.BlkSize / 2, []int64{1, 4}},
		{"read", 6, 0, []int64{1, 4, 6}},
		{"touch", 3, harness.BlkSize / 4, []int64{1, 3, 4, 6}},
	} {
		require.Equal(t, "ok", h.Ask(fmt.Sprintf("%s 0 %d", c.how, c.blk*harness.BlkSize+c.off)))
		requireCached(sc, nblk, c.want...)
		w.Expect(sc.File, harness.Pins{c.blk: at1}, "%s in block %d", c.how, c.blk)
	}
	require.Equal(t, 4, loads(sc.Server)-before, "blocks loaded")
	w.Sees(sc.File, 1, 3, 4, 6)
	require.Zero(t, h.Wait())
	sc.End()
}

// TestRandomAccessLoadsWhatIsTouched: every block once, however often it is touched,
// wherever in the block, and nothing else.
func TestRandomAccessLoadsWhatIsTouched(t *testing.T) {
	t.Parallel()
	const nblk, around = 24, 128 << 10 // around a fault the kernel reads so much at most
	rnd := harness.NewRand(t)
	sc, at1, w := changedFile(t, nblk)
	h := reader(sc)
	before := loads(sc.Server)
	want := harness.Pins{}
	var touched []int64
	for _, half := range rnd.Perm(nblk / 2) {
		blk := 2 * int64(half) // no neighbours: those could be a sequential reader
		for range 3 {
			off := blk*harness.BlkSize + around + rnd.Int64N(harness.BlkSize-2*around)
			require.Equal(t, "ok", h.Ask(fmt.Sprintf("touch 0 %d", off)))
		}
		want[blk] = at1
		touched = append(touched, blk)
	}
	requireCached(sc, nblk, touched...)
	require.Equal(t, len(touched), loads(sc.Server)-before, "blocks loaded")
	w.Expect(sc.File, want)
	require.Zero(t, h.Wait())
	sc.End()
}

// TestSequentialReadLoadsAheadIntoMemoryOnly: what a sequential reader will want is
// loaded, but neither cached nor served, so that nobody is pinned for it.
func TestSequentialReadLoadsAheadIntoMemoryOnly(t *testing.T) {
	t.Parallel()
	const nblk = 8
	sc, at1, w := changedFile(t, nblk)
	before := loads(sc.Server)
	f, err := os.Open(sc.File.Path(sc.Server, "head"))
	require.NoError(t, err)
	defer f.Close()
	// Up to where the kernel would begin to read the next block.
	buf, end := make([]byte, 64<<10), 3*int64(harness.BlkSize)-192<<10
	for off := int64(0); off < end; off += int64(len(buf)) {
		n, err := f.Read(buf)
		require.NoError(t, err)
		require.Equal(t, len(buf), n)
	}
	w.Expect(sc.File, harness.Pins{0: at1, 1: at1, 2: at1})
	requireCached(sc, nblk, 0, 1, 2)
	harness.Until(t, "blocks are loaded ahead", func() bool { return loads(sc.Server)-before > 3 })
	require.EqualValues(t, 3, sc.Server.Metrics()["served_blocks"])
	require.LessOrEqual(t, loads(sc.Server)-before, 5, "not more than 4 MiB ahead")

	require.Equal(t, "new3", readBlock(t, sc.File, sc.Server, 3), "what was loaded ahead is right")
	w.Expect(sc.File, harness.Pins{3: at1})
	w.Sees(sc.File, 0, 1, 2, 3)
	sc.End()
}
