package live

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
)

// helperGrow maps more of a file than there is, and touches its last byte whenever it
// is told a larger size. It prints how many of these touches failed. Arguments: file,
// size that it ends at.
func helperGrow(args []string) error {
	debug.SetPanicOnFault(true)
	size, _ := strconv.ParseInt(args[1], 10, 64)
	fd, err := harness.OpenFile(args[0], unix.O_RDONLY)
	if err != nil {
		return err
	}
	mem, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	failed, told := 0, 0
	var st unix.Stat_t
	for known := int64(4096); known < size; {
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if st.Size == known {
			continue
		}
		known = st.Size
		told++
		if harness.Touch(mem, known-1) != "ok" {
			failed++
		}
	}
	fmt.Printf("%d of %d\n", failed, told)
	return nil
}

// The page that held the end of a file does not keep the zeros behind it.
func TestGrowthWithinAMappedPage(t *testing.T) {
	l := harness.NewLive(t)
	f := l.NewFile(1024)
	f.Commit(harness.Blocks{0: "a"})
	s := l.Start()
	path := f.Path(s, "head")
	m := harness.Map(t, path, 1024, 8)
	require.Equal(t, "a", m.Block(0))
	s.WaitAt(f.Commit(harness.Blocks{1: "b"}))
	m2 := harness.Map(t, path, 1024, 8)
	require.Equal(t, []string{"a", "b"}, m2.Blocks(2))
}

func TestGrowthWithinAReadPage(t *testing.T) {
	l := harness.NewLive(t)
	f := l.NewFile(1024)
	f.Commit(harness.Blocks{0: "a"})
	s := l.Start()
	path := f.Path(s, "head")
	require.Equal(t, "a", harness.Content(t, path)[:1])
	s.WaitAt(f.Commit(harness.Blocks{1: "b"}))
	require.Equal(t, "b", harness.Content(t, path)[1024:1025])
}

// Zeros that a fault behind the end brought in are gone when the file grows back.
func TestFaultBehindTheEndDoesNotOutliveGrowth(t *testing.T) {
	l := harness.NewLive(t)
	f := l.NewFile(4096)
	f.Commit(harness.Blocks{0: "a", 1: "b"})
	s := l.Start()
	path := f.Path(s, "head")
	m := harness.Map(t, path, 4096, 8)
	require.Equal(t, "a", m.Block(0))
	s.WaitAt(l.Commit(func(tx *harness.LiveTx) { tx.Delete(f, 1) }))
	_ = m.Block(1) // a fault with the i_size that the kernel still has
	s.WaitAt(f.Commit(harness.Blocks{1: "B"}))
	st, err := os.Stat(path) // tells the kernel the size
	require.NoError(t, err)
	require.EqualValues(t, 2*4096, st.Size())
	m2 := harness.Map(t, path, 4096, 8)
	require.Equal(t, []string{"a", "B"}, m2.Blocks(2))
}

// A size that is told can be touched, whatever is committed at that moment.
func TestSizeThatIsToldCanBeTouched(t *testing.T) {
	t.Parallel()
	const size, nblk = 4096, 200
	l := harness.NewLive(t)
	f := l.NewFile(size)
	f.Commit(harness.Blocks{0: "a"})
	s := l.Start()
	h := harness.StartHelper(t, "grow", f.Path(s, "head"), fmt.Sprint(nblk*size))
	require.Equal(t, "ready", h.Line())
	for blk := range int64(nblk - 1) {
		f.Commit(harness.Blocks{blk + 1: "b"})
		for i := range 5 {
			f.Commit(harness.Blocks{0: fmt.Sprint(i)})
		}
		s.WaitAt(l.Head())
	}
	require.Regexp(t, "^0 of [1-9]", h.Line(), "touches that gave SIGBUS, of sizes that were told")
	require.Zero(t, h.Wait())
	s.Stop()
}
