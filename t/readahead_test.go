package t

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

func init() { helpers["cached-pages"] = helperCachedPages }

// helperCachedPages prints for every block how many pages of it are in the page
// cache. Arguments: file, block size.
func helperCachedPages(args []string) error {
	mem, err := mapFile(args[0])
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
func (sc *scene) cachedPages() (counts []int) {
	sc.t.Helper()
	for _, field := range strings.Fields(runHelperProcess(sc.t, "cached-pages", sc.f.Path(sc.s, "head"), fmt.Sprint(sc.f.BlkSize))) {
		n, err := strconv.Atoi(field)
		require.NoError(sc.t, err)
		counts = append(counts, n)
	}
	return counts
}

// requireCached waits until exactly these blocks are cached, as a whole. The rest
// of a block may come a moment later than what was asked for.
func (sc *scene) requireCached(nblk int, blks ...int64) {
	sc.t.Helper()
	want := make([]int, nblk)
	for _, blk := range blks {
		want[blk] = int(sc.f.BlkSize) / os.Getpagesize()
	}
	var got []int
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if got = sc.cachedPages(); fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
	}
	require.Equal(sc.t, want, got, "pages of each block in the page cache")
}

// loads returns how many blocks were loaded from the database so far.
func (s *Server) loads() int { return int(s.metrics()[`block_loads_total{source="zodb"}`]) }

// changedFile is a scene of a file of n blocks of the usual size, all of which have
// changed since the view that is returned, and who watches it at that view.
func changedFile(t *testing.T, n int64) (*scene, zodb.Tid, *watcher) {
	sc := newScene(t)
	blocks := func(text string) Blocks {
		b := Blocks{}
		for blk := range n {
			b[blk] = fmt.Sprint(text, blk)
		}
		return b
	}
	at1 := sc.commitBlocks(blocks("old"))
	sc.commitBlocks(blocks("new"))
	sc.open()
	w := sc.watching(at1, pins{})
	return sc, at1, w
}

// reader starts a process that reads and maps head as most programs do: without any
// advice to the kernel.
func (sc *scene) reader() *Helper {
	sc.t.Helper()
	h := StartHelper(sc.t, "hold", sc.f.Path(sc.s, "head"))
	require.Equal(sc.t, "ready", h.Line())
	return h
}

// TestTouchingABlockBringsThatBlock: whoever touches a part of a block, by whatever
// means, has that block cached, and no other one loaded or pinned.
func TestTouchingABlockBringsThatBlock(t *testing.T) {
	t.Parallel()
	const nblk = 8
	sc, at1, w := changedFile(t, nblk)
	h := sc.reader()
	before := sc.s.loads()
	for _, c := range []struct {
		how  string
		blk  int64
		off  int64
		want []int64
	}{
		{"touch", 1, blksize / 2, []int64{1}},
		{"read", 4, blksize / 2, []int64{1, 4}},
		{"read", 6, 0, []int64{1, 4, 6}},
		{"touch", 3, blksize / 4, []int64{1, 3, 4, 6}},
	} {
		require.Equal(t, "ok", h.Ask(fmt.Sprintf("%s 0 %d", c.how, c.blk*blksize+c.off)))
		sc.requireCached(nblk, c.want...)
		w.Expect(sc.f, pins{c.blk: at1}, "%s in block %d", c.how, c.blk)
	}
	require.Equal(t, 4, sc.s.loads()-before, "blocks loaded")
	w.Sees(sc.f, 1, 3, 4, 6)
	require.Zero(t, h.Wait())
	sc.end()
}

// TestRandomAccessLoadsWhatIsTouched: every block once, however often it is touched,
// wherever in the block, and nothing else.
func TestRandomAccessLoadsWhatIsTouched(t *testing.T) {
	t.Parallel()
	const nblk, around = 24, 128 << 10 // around a fault the kernel reads so much at most
	seed := rand.Uint64()
	t.Logf("to repeat: seed := uint64(%d); go test -run %s ./t", seed, t.Name())
	rnd := rand.New(rand.NewPCG(seed, 0))
	sc, at1, w := changedFile(t, nblk)
	h := sc.reader()
	before := sc.s.loads()
	want := pins{}
	var touched []int64
	for _, half := range rnd.Perm(nblk / 2) {
		blk := 2 * int64(half) // no neighbours: those could be a sequential reader
		for range 3 {
			off := blk*blksize + around + rnd.Int64N(blksize-2*around)
			require.Equal(t, "ok", h.Ask(fmt.Sprintf("touch 0 %d", off)))
		}
		want[blk] = at1
		touched = append(touched, blk)
	}
	sc.requireCached(nblk, touched...)
	require.Equal(t, len(touched), sc.s.loads()-before, "blocks loaded")
	w.Expect(sc.f, want)
	require.Zero(t, h.Wait())
	sc.end()
}

// TestSequentialReadLoadsAheadIntoMemoryOnly: what a sequential reader will want is
// loaded, but neither cached nor served, so that nobody is pinned for it.
func TestSequentialReadLoadsAheadIntoMemoryOnly(t *testing.T) {
	t.Parallel()
	const nblk = 8
	sc, at1, w := changedFile(t, nblk)
	before := sc.s.loads()
	f, err := os.Open(sc.f.Path(sc.s, "head"))
	require.NoError(t, err)
	defer f.Close()
	// Up to where the kernel would begin to read the next block.
	buf, end := make([]byte, 64<<10), 3*int64(blksize)-192<<10
	for off := int64(0); off < end; off += int64(len(buf)) {
		n, err := f.Read(buf)
		require.NoError(t, err)
		require.Equal(t, len(buf), n)
	}
	w.Expect(sc.f, pins{0: at1, 1: at1, 2: at1})
	sc.requireCached(nblk, 0, 1, 2)
	until(t, "blocks are loaded ahead", func() bool { return sc.s.loads()-before > 3 })
	require.EqualValues(t, 3, sc.s.metrics()["served_blocks"])
	require.LessOrEqual(t, sc.s.loads()-before, 5, "not more than 4 MiB ahead")

	require.Equal(t, "new3", readBlock(t, sc.f, sc.s, 3), "what was loaded ahead is right")
	w.Expect(sc.f, pins{3: at1})
	w.Sees(sc.f, 0, 1, 2, 3)
	sc.end()
}
