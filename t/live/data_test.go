package live

import (
	"crypto/sha1"
	"fmt"
	"io"
	"math/bits"
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"github.com/wcfs/wcfs/t/oracle"
	"golang.org/x/sys/unix"
)

// sum returns a digest of the whole file.
func sum(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	h := sha1.New()
	_, err = io.Copy(h, f)
	require.NoError(t, err)
	return fmt.Sprintf("%x", h.Sum(nil))
}

// aligned returns n bytes of memory at a page boundary, as O_DIRECT wants.
func aligned(n int) []byte {
	page := os.Getpagesize()
	mem := make([]byte, n+page)
	skip := page - int(uintptr(unsafe.Pointer(&mem[0]))%uintptr(page))
	return mem[skip : skip+n]
}

func TestReadsAreCutAtTheEnd(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic")
	arr := db.Files["arr"]
	for _, view := range []string{"head", "@" + db.Head.String()} {
		for _, flags := range []int{0, unix.O_DIRECT} {
			path := s.Path(view, "bigfile", arr.Oid.String())
			fd, err := harness.OpenFile(path, unix.O_RDONLY|flags)
			require.NoError(t, err)
			const size, blk = 40960, 8192
			for _, c := range []struct {
				off   int64
				n, ok int
			}{
				{0, 4, 4}, {blk, 4, 4}, {2 * blk, 4, 4},
				{size - 4, 4, 4}, {size - 3, 4, 3}, {size - 2, 4, 2}, {size - 1, 4, 1},
				{size, 4, 0}, {size + 1, 4, 0}, {size + 2, 4, 0}, {size + 3, 4, 0},
				{size + blk, 4, 0}, {size + 8*blk, 4, 0}, {size + 100*blk, 4, 0}, {1 << 50, 4, 0},
				{0, 1 << 20, size}, {size - blk - 1, 3 * blk, blk + 1}, {size - 1, 1 << 20, 1},
				{1<<63 - 1 - 4096, 4096, 0},
			} {
				data := aligned(c.n)
				n, err := unix.Pread(fd, data, c.off)
				require.NoError(t, err, "%d bytes at %d", c.n, c.off)
				require.Equal(t, c.ok, n, "%d bytes at %d", c.n, c.off)
			}
			unix.Close(fd)
		}
	}
}

// TestRandomPiecesReadAsTheWhole reads pieces of any alignment and size, through
// the page cache and around it.
func TestRandomPiecesReadAsTheWhole(t *testing.T) {
	t.Parallel()
	rnd := harness.NewRand(t)
	db := oracle.Load(t, "basic")
	s := harness.Start(t, "basic")
	for _, name := range []string{"arr", "zblk0", "zblk1", "mixed", "auto"} {
		file := db.Files[name]
		state := db.Txns[len(db.Txns)-1].Files[name]
		// The begin of a sparse file and where its data ends are enough.
		size := min(state.Size, 60*file.BlkSize)
		path := s.Path("@"+db.Head.String(), "bigfile", file.Oid.String())
		whole := harness.ReadAt(t, path, 0, int(size))
		last := harness.ReadAt(t, path, state.Size-2*file.BlkSize, int(2*file.BlkSize))
		for _, flags := range []int{0, unix.O_DIRECT} {
			fd, err := harness.OpenFile(s.Path("head/bigfile", file.Oid.String()), unix.O_RDONLY|flags)
			require.NoError(t, err)
			require.NoError(t, unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM))
			for range 300 {
				base, part := int64(0), whole
				if rnd.IntN(2) == 0 {
					base, part = state.Size-2*file.BlkSize, last
				}
				off := rnd.Int64N(int64(len(part)))
				n := 1 + rnd.IntN(min(len(part)-int(off), 3*int(file.BlkSize)))
				data := make([]byte, n)
				got, err := unix.Pread(fd, data, base+off)
				require.NoError(t, err)
				require.Equal(t, n, got)
				require.True(t, string(part[off:][:n]) == string(data), "%s: %d bytes at %d (O_DIRECT: %t)", name, n, base+off, flags != 0)
			}
			unix.Close(fd)
		}
	}
}

// TestOneByteAtATime reads a block as a careless program does.
func TestOneByteAtATime(t *testing.T) {
	t.Parallel()
	db := oracle.Load(t, "topo")
	s := harness.Start(t, "topo")
	path := s.Path("head/bigfile", db.Files["topo"].Oid.String())
	want := harness.Content(t, path)
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	got, one := []byte{}, make([]byte, 1)
	for {
		n, err := f.Read(one)
		got = append(got, one[:n]...)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	require.True(t, want == string(got))
}

// TestBlocksOfAnySize: blocks need not be of 2 MiB, nor of whole pages, and one
// READ may touch thousands of them.
func TestBlocksOfAnySize(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		nblk    int
		blksize int64
	}{{5000, 1}, {3000, 7}, {50, 3000}, {10, 4097}, {3, 4 << 20}, {3, 5 << 20}, {2, 9<<20 + 1}} {
		path, want := harness.BuildDatabase(t, c.nblk, c.blksize, true)
		s := harness.StartOn(t, path)
		file := s.Path("head/bigfile", harness.BuiltOid.String())
		st := harness.Stat(t, file)
		require.EqualValues(t, len(want), st.Size)
		// The kernel can only tell powers of two, and rounds down.
		require.EqualValues(t, 1<<(bits.Len64(uint64(c.blksize))-1), st.Blksize)
		require.True(t, string(want) == harness.Content(t, file), "%d blocks of %d bytes", c.nblk, c.blksize)
		f := harness.OpenRandom(t, s.Path("@"+harness.Content(t, s.Path("head/at")), "bigfile", harness.BuiltOid.String()))
		for _, off := range []int64{c.blksize / 2, int64(len(want)) / 2, int64(len(want)) - 1} {
			require.Equal(t, want[off:off+1], harness.Pread(t, f, off, 1))
		}
		f.Close()
		s.Stop()
	}
}
