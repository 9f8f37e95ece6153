package live

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// requireTime requires that the mtime of a file is the commit time of tid.
func requireTime(t testing.TB, fd int, tid zodb.Tid) {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(fd, &st))
	require.InDelta(t, tid.Time().UnixNano(), st.Mtim.Nano(), 1000, "mtime, in ns")
	require.Equal(t, st.Mtim, st.Ctim)
}

// TestExactlyWhatChangesLeavesTheCache follows a file through three commits.
func TestExactlyWhatChangesLeavesTheCache(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(harness.BlkSize)
	at0, s := l.Head(), l.Start()
	path := f.Path(s, "head")
	fd, err := harness.OpenFile(path, unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	m := harness.Map(t, path, harness.BlkSize, 8)

	require.Equal(t, "", m.Cache())
	require.Zero(t, harness.SizeOf(t, fd))
	requireTime(t, fd, at0)

	at1 := f.Commit(harness.Blocks{2: "c1"})
	s.WaitAt(at1)
	require.Equal(t, "000", m.Cache())
	require.Equal(t, []string{"", "", "c1"}, m.Blocks(3))
	requireTime(t, fd, at1)
	require.Equal(t, "111", m.Cache())

	at2 := f.Commit(harness.Blocks{2: "c2", 3: "d2", 5: "f2"})
	s.WaitAt(at2)
	require.Equal(t, "110000", m.Cache())
	require.Equal(t, []string{"", "", "c2", "d2"}, m.Blocks(4))
	require.Equal(t, "111100", m.Cache())
	requireTime(t, fd, at2)

	m1 := harness.Map(t, f.Path(s, "@"+at1.String()), harness.BlkSize, 3)
	require.Equal(t, "001", m1.Cache(), "old content of what was cached when it changed")
	require.Equal(t, []string{"", "", "c1"}, m1.Blocks(3))

	m2 := harness.Map(t, f.Path(s, "@"+at2.String()), harness.BlkSize, 6)
	require.Equal(t, "000000", m2.Cache())
	at3 := f.Commit(harness.Blocks{0: "a3", 2: "c3", 5: "f3"})
	s.WaitAt(at3)
	require.Equal(t, "010100", m.Cache())
	requireCache(t, path, "010100", "opened once more")
	require.Equal(t, "010100", m.Cache())
	require.Equal(t, []string{"a3", "", "c3", "d2"}, m.Blocks(4))
	requireTime(t, fd, at3)

	// #0 is preserved as well, but its revision is @at0: that is where it is pinned to.
	harness.Until(t, "old content is in the page cache of @at2", func() bool { return m2.Cache() == "001000" })
	require.Equal(t, []string{"", "", "c2", "d2", "", "f2"}, m2.Blocks(6))
	require.Equal(t, "111", m1.Cache())
	require.Equal(t, []string{"", "", "c1"}, m1.Blocks(3))

	m.Close()
	m = harness.Map(t, path, harness.BlkSize, 6)
	require.Equal(t, "111100", m.Cache(), "closed and opened")
	require.Equal(t, []string{"a3", "", "c3", "d2", "", "f3"}, m.Blocks(6))
	require.Equal(t, "111111", m.Cache())
	checkViews(t, s, f, []zodb.Tid{at0, at1, at2, at3}, 0, 3, 6, 6)
	for _, m := range []*harness.Mapped{m, m1, m2} {
		m.Close()
	}
	s.Stop()
}

// checkViews checks all of a file, which has so many blocks at each view.
func checkViews(t *testing.T, s *harness.Server, f *harness.LiveFile, views []zodb.Tid, nblk ...int64) {
	for i, at := range views {
		f.Check(s, "@"+at.String(), at)
		require.Equal(t, nblk[i]*harness.BlkSize, harness.Stat(t, f.Path(s, "@"+at.String())).Size)
	}
}

// requireCache requires that the page cache has these blocks of a file, by another open.
func requireCache(t *testing.T, path, want, why string) {
	t.Helper()
	m := harness.Map(t, path, harness.BlkSize, int64(len(want)))
	require.Equal(t, want, m.Cache(), why)
	m.Close()
}

func TestHoleThatBecomesDataLeavesTheCache(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(harness.BlkSize)
	at1 := f.Commit(harness.Blocks{2: "c1"})
	s := l.Start()
	m := harness.Map(t, f.Path(s, "head"), harness.BlkSize, 3)
	require.Equal(t, []string{"", "", "c1"}, m.Blocks(3))
	require.Equal(t, "111", m.Cache())
	s.WaitAt(f.Commit(harness.Blocks{1: "b2"}))
	require.Equal(t, "101", m.Cache())
	require.Equal(t, []string{"", "b2", "c1"}, m.Blocks(3))
	s.WaitAt(l.Commit(func(tx *harness.LiveTx) { tx.Delete(f, 1) })) // and back
	require.Equal(t, "101", m.Cache())
	require.Equal(t, []string{"", "", "c1"}, m.Blocks(3))
	f.Check(s, "@"+at1.String(), at1)
	m.Close()
	s.Stop()
}

// TestReadsAreCutAtTheEndAsItMoves reads around the end of a file that grows and
// shrinks under an open descriptor.
func TestReadsAreCutAtTheEndAsItMoves(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(harness.BlkSize)
	s := l.Start()
	fd, err := harness.OpenFile(f.Path(s, "head"), unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	at := func(n, off int64, want int) {
		t.Helper()
		got, err := unix.Pread(fd, make([]byte, n), off)
		require.NoError(t, err)
		require.Equal(t, want, got, "%d bytes at %d", n, off)
	}
	at(4, 0, 0)
	last := int64(0)
	for _, end := range []int64{3, 5, 1, 3} {
		s.WaitAt(l.Commit(func(tx *harness.LiveTx) {
			for blk := range int64(6) {
				tx.Delete(f, blk)
			}
			tx.Write(f, end-1, "x")
		}))
		// The kernel asks for the size when somebody stats the file or reads
		// beyond the end it knows of. Until then it gives zeros for what was
		// cut off, and never what was there.
		for blk := end; blk < last; blk++ {
			data := make([]byte, 4)
			_, err := unix.Pread(fd, data, blk*harness.BlkSize)
			require.NoError(t, err)
			require.Equal(t, make([]byte, 4), data)
		}
		last = end
		require.Equal(t, end*harness.BlkSize, harness.SizeOf(t, fd))
		for blk := range end {
			at(4, blk*harness.BlkSize, 4)
		}
		for i := range int64(4) {
			at(4, end*harness.BlkSize-4+i, 4-int(i))
			at(4, end*harness.BlkSize+i, 0)
		}
		for _, blk := range []int64{1, 5, 97} {
			at(4, (end+blk)*harness.BlkSize, 0)
		}
		f.CheckFd(fd, l.Head())
	}
	s.Stop()
}

// TestServerStartedOnOldDataFollows: nothing is known of how the data came to be
// when it was there before the server.
func TestServerStartedOnOldDataFollows(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(harness.BlkSize)
	at1 := f.Commit(harness.Blocks{0: "a"})
	s := l.Start()
	m := harness.Map(t, f.Path(s, "head"), harness.BlkSize, 2)
	require.Equal(t, []string{"a"}, m.Blocks(1))
	at2 := f.Commit(harness.Blocks{1: "b1"})
	at3 := f.Commit(harness.Blocks{0: "a2"})
	s.WaitAt(at3)
	require.Equal(t, "00", m.Cache())
	require.Equal(t, []string{"a2", "b1"}, m.Blocks(2))
	for _, at := range []zodb.Tid{at1 - 1, at1, at2, at3 - 1, at3} {
		f.Check(s, "@"+at.String(), at)
	}
	require.Equal(t, "11", m.Cache())
	m.Close()
	s.Stop()
}

// TestReplacedTableIsAChangeOfAllBlocks: another block table with the same size
// of blocks is nothing special to clients.
func TestReplacedTableIsAChangeOfAllBlocks(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f, other := l.NewFile(64<<10), l.NewFile(64<<10)
	f.Commit(harness.Blocks{0: "a", 1: "b", 2: "c", 4: "e"})
	other.Commit(harness.Blocks{0: "A", 1: "B"})
	s := l.Start()
	m, mo := harness.Map(t, f.Path(s, "head"), f.BlkSize, 8), harness.Map(t, other.Path(s, "head"), f.BlkSize, 8)
	require.Equal(t, []string{"a", "b", "c", "", "e"}, m.Blocks(5))
	require.Equal(t, []string{"A", "B"}, mo.Blocks(2))
	at2 := l.Commit(func(tx *harness.LiveTx) { // two files on one table
		tx.SetFile(f, f.BlkSize, tx.Table(other))
		tx.Write(other, 2, "C")
	})
	s.WaitAt(at2)
	require.Equal(t, "000", m.Cache())
	require.Equal(t, "110", mo.Cache())
	require.Equal(t, []string{"A", "B", "C"}, m.Blocks(3))
	require.Equal(t, "SIGBUS", m.Block(4))
	require.Equal(t, []string{"A", "B", "C"}, mo.Blocks(3))
	s.WaitAt(other.Commit(harness.Blocks{1: "B2", 3: "D"})) // changes both
	require.Equal(t, "1010", m.Cache())
	require.Equal(t, "1010", mo.Cache())
	require.Equal(t, []string{"A", "B2", "C", "D"}, m.Blocks(4))
	require.Equal(t, []string{"A", "B2", "C", "D"}, mo.Blocks(4))
	at4 := l.Commit(func(tx *harness.LiveTx) { // and on two again
		tx.SetFile(f, f.BlkSize, tx.NewTable())
		tx.Write(f, 1, "z")
	})
	s.WaitAt(at4)
	require.Equal(t, "00", m.Cache())
	require.Equal(t, "1111", mo.Cache())
	require.Equal(t, []string{"", "z"}, m.Blocks(2))
	for _, at := range l.Tids[1:] {
		f.Check(s, "@"+at.String(), at)
		other.Check(s, "@"+at.String(), at)
	}
	m.Close()
	mo.Close()
	s.Stop()
}

// TestBlockObjectMayBeAnywhere: one ZBlk in several blocks and files, moved and
// copied between them.
func TestBlockObjectMayBeAnywhere(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	const size = 16 << 10
	f, g := l.NewFile(size), l.NewFile(size)
	f.Commit(harness.Blocks{0: "a", 1: "b"})
	g.Commit(harness.Blocks{3: "g"})
	s := l.Start()
	mf, mg := harness.Map(t, f.Path(s, "head"), size, 8), harness.Map(t, g.Path(s, "head"), size, 8)
	require.Equal(t, []string{"a", "b"}, mf.Blocks(2))
	require.Equal(t, []string{"", "", "", "g"}, mg.Blocks(4))
	step := func(cacheF, cacheG string, change func(tx *harness.LiveTx)) {
		t.Helper()
		at := l.Commit(change)
		s.WaitAt(at)
		require.Equal(t, cacheF, mf.Cache())
		require.Equal(t, cacheG, mg.Cache())
		for _, c := range []struct {
			f *harness.LiveFile
			m *harness.Mapped
		}{{f, mf}, {g, mg}} {
			for blk := range c.f.Size(at) / size {
				require.Equal(t, c.f.Text(blk, at), c.m.Block(blk), "%s #%d", c.f.Oid, blk)
			}
		}
	}
	step("11000", "0111", func(tx *harness.LiveTx) { // copied
		tx.Link(f, 4, tx.Blk(f, 0))
		tx.Link(g, 0, tx.Blk(f, 0))
	})
	step("01110", "0111", func(tx *harness.LiveTx) { tx.Write(f, 0, "A") }) // shows everywhere
	step("01111", "1110", func(tx *harness.LiveTx) {                        // moved, and changed
		a, b := tx.Blk(f, 0), tx.Blk(g, 3)
		tx.Link(f, 0, b)
		tx.Link(g, 3, a)
		tx.Write(f, 0, "G")
	})
	step("11110", "1110", func(tx *harness.LiveTx) { // away from one that others keep
		tx.Link(f, 4, tx.Blk(f, 1))
		tx.Link(g, 3, tx.Blk(f, 1))
	})
	step("10110", "1110", func(tx *harness.LiveTx) { tx.Write(f, 1, "B") })
	step("11111", "0111", func(tx *harness.LiveTx) { tx.Write(g, 0, "only g") })
	for _, at := range l.Tids {
		f.Check(s, "@"+at.String(), at)
		g.Check(s, "@"+at.String(), at)
	}
	mf.Close()
	mg.Close()
	s.Stop()
}
