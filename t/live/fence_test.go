package live

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/t/harness"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// TestFileThatBecomesAnotherIsFenced: a commit that changes the size of blocks,
// or deletes the object, concerns that one file. Its open files answer EIO from
// then on, looking it up gives what it is now, all others go on.
func TestFileThatBecomesAnotherIsFenced(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	for name, c := range map[string]struct {
		change, back func(tx *harness.LiveTx, f *harness.LiveFile)
	}{
		"other size of blocks": {
			func(tx *harness.LiveTx, f *harness.LiveFile) {
				tx.SetFile(f, size/2, tx.Table(f))
				for blk := range int64(3) {
					tx.Write(f, blk, "half")
				}
			},
			func(tx *harness.LiveTx, f *harness.LiveFile) { tx.SetFile(f, size, tx.Table(f)) },
		},
		"deleted": {
			func(tx *harness.LiveTx, f *harness.LiveFile) { tx.DeleteFile(f) },
			func(tx *harness.LiveTx, f *harness.LiveFile) {
				tx.SetFile(f, size, tx.NewTable())
				tx.Write(f, 1, "again")
			},
		},
	} {
		t.Run(name, func(t *testing.T) { fenceAndBack(t, size, c.change, c.back) })
	}
}

// fenceAndBack makes a file another one, and then what it was.
func fenceAndBack(t *testing.T, size int64, change, back func(tx *harness.LiveTx, f *harness.LiveFile)) {
	t.Parallel()
	l := harness.NewLive(t)
	f, other := l.NewFile(size), l.NewFile(size)
	f.Commit(harness.Blocks{0: "a", 1: "b", 2: "c"})
	other.Commit(harness.Blocks{0: "o", 1: "p"})
	s := l.Start()
	path := f.Path(s, "head")
	old := harness.StartHelper(t, "hold", path)
	require.Equal(t, "ready", old.Line())
	require.Equal(t, "ok", old.Ask("read 0 0"))
	require.Equal(t, "ok", old.Ask("touch 0 0"))
	mo := harness.Map(t, other.Path(s, "head"), size, 4)
	require.Equal(t, []string{"o", "p"}, mo.Blocks(2))

	at := l.Commit(func(tx *harness.LiveTx) { change(tx, f) })
	s.WaitAt(at)
	for _, command := range []string{"read 0 0", "read 0 65536", "read 0 131072"} {
		require.Equal(t, "EIO", old.Ask(command), "an open descriptor")
	}
	require.Equal(t, "SIGBUS", old.Ask("touch 0 0"), "a mapping")
	f.Check(s, "head", at)
	require.Equal(t, "11", mo.Cache(), "another file")

	at = l.Commit(func(tx *harness.LiveTx) { back(tx, f); tx.Write(other, 1, "P") })
	s.WaitAt(at)
	require.Equal(t, "EIO", old.Ask("read 0 0"), "it stays so")
	f.Check(s, "head", at)
	require.Equal(t, "10", mo.Cache())
	require.Equal(t, []string{"o", "P"}, mo.Blocks(2))

	// The new file follows like any other.
	m := harness.Map(t, path, size, 4)
	require.Equal(t, f.Text(1, at), m.Block(1))
	at = f.Commit(harness.Blocks{1: "new"})
	s.WaitAt(at)
	require.Equal(t, "new", m.Block(1))
	f.Check(s, "head", at)
	for _, tid := range l.Tids {
		f.Check(s, "@"+tid.String(), tid)
		other.Check(s, "@"+tid.String(), tid)
	}
	for _, m := range []*harness.Mapped{m, mo} {
		m.Close()
	}
	require.Zero(t, old.Wait())
	s.Stop()
}

// TestDatabaseThatLosesDataIsNotServed truncates the data file below what was
// served.
func TestDatabaseThatLosesDataIsNotServed(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(harness.BlkSize)
	f.Commit(harness.Blocks{0: "a", 1: "b"})
	s := l.Start()
	h := harness.StartHelper(t, "hold", f.Path(s, "head"), s.Path("head/at"), s.Path(".wcfs/debug/zhead"))
	require.Equal(t, "ready", h.Line())
	require.Equal(t, "ok", h.Ask("read 0 0"))
	s.WaitAt(f.Commit(harness.Blocks{0: "a2"}))
	info, err := os.Stat(l.File())
	require.NoError(t, err)
	require.Equal(t, "ok", h.Ask("next 2"))
	h.Tell("next 2") // waits for the next transaction
	require.NoError(t, os.Truncate(l.File(), info.Size()-1))
	harness.RequireEIOMode(t, s, f.Path(s, "head"))
	require.Contains(t, []string{"ENOTCONN", "ECONNABORTED"}, h.Line())
	require.Equal(t, "ENOTCONN", h.Ask("read 0 2097152"))
	require.Zero(t, h.Wait())
	s.Unmount()
}

// TestDamagedTransactionIsNotTakenForData appends a transaction whose records
// make no sense: nothing of it may show.
func TestDamagedTransactionIsNotTakenForData(t *testing.T) {
	t.Parallel()
	l := harness.NewLive(t)
	f := l.NewFile(64 << 10)
	at := f.Commit(harness.Blocks{0: "a", 1: "b"})
	s := l.Start()
	f.Check(s, "head", at)
	before, err := os.ReadFile(l.File())
	require.NoError(t, err)
	f.Commit(harness.Blocks{1: "b2"})
	after, err := os.ReadFile(l.File())
	require.NoError(t, err)
	s.WaitAt(l.Head())
	txn := slices.Clone(after[len(before):])
	copy(txn, zodbBytes(l.Head()+1))
	copy(txn[23+8:], zodbBytes(l.Head()+1))           // of the first record
	copy(txn[23+34:], "\x7f\xff\xff\xff\xff\xff\xff") // its length
	out, err := os.OpenFile(l.File(), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = out.Write(txn)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	harness.Until(t, "the server has made up its mind", func() bool {
		if at, err := os.ReadFile(s.Path("head/at")); err == nil {
			require.Equal(t, l.Head().String(), string(at))
		}
		if fd, err := harness.OpenFile(f.Path(s, "head"), unix.O_RDONLY); err == nil {
			data := make([]byte, 2)
			if n, err := unix.Pread(fd, data, f.BlkSize); err == nil && n > 0 {
				require.Equal(t, "b2", string(data[:n]))
			}
			unix.Close(fd)
		}
		return !s.Running()
	})
	harness.RequireEIOMode(t, s, f.Path(s, "head"))
	s.Unmount()
}

func zodbBytes(tid zodb.Tid) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(tid >> (56 - 8*i))
	}
	return b
}

// TestDamageInACommitCostsWhatItIsAbout commits records that cannot be
// understood. Blocks that need them are EIO until a later commit repairs
// them, nothing else suffers, and nothing old or wrong is ever read.
func TestDamageInACommitCostsWhatItIsAbout(t *testing.T) {
	t.Parallel()
	const size = 8 << 10
	rnd := harness.NewRand(t)
	l := harness.NewLive(t)
	f, other := l.NewFile(size), l.NewFile(size)
	l.Commit(func(tx *harness.LiveTx) { // a table of several nodes
		writeMany(tx, f, 200)
		tx.Write(other, 0, "o")
	})
	s := l.Start()
	mo := harness.Map(t, other.Path(s, "head"), size, 1)
	require.Equal(t, "o", mo.Block(0))
	fd, err := harness.OpenFile(f.Path(s, "head"), unix.O_RDONLY)
	require.NoError(t, err)
	defer unix.Close(fd)
	f.CheckFd(fd, l.Head())

	for _, c := range []struct {
		what string
		oid  func(tx *harness.LiveTx) zodb.Oid
	}{
		{"block", func(tx *harness.LiveTx) zodb.Oid { return tx.Blk(f, 7) }},
		{"table", func(tx *harness.LiveTx) zodb.Oid { return tx.Table(f) }},
		{"leaf", func(tx *harness.LiveTx) zodb.Oid { return leafOf(t, tx, f, rnd.IntN(2)) }},
		{"file", func(tx *harness.LiveTx) zodb.Oid { return f.Oid }},
	} {
		var oid zodb.Oid
		var good []byte
		bad := l.Commit(func(tx *harness.LiveTx) {
			oid = c.oid(tx)
			good, _, err = tx.Txn.Load(oid)
			require.NoError(t, err)
			tx.Store(oid, broken(good, rnd))
		})
		s.WaitAt(bad)
		switch eio := countEIO(t, f, fd, 200, bad, c.what); c.what {
		case "block":
			require.Equal(t, 1, eio, "damaged %s", c.what)
		case "leaf":
			require.Greater(t, eio, 0, "damaged %s", c.what)
		default:
			require.Equal(t, 200, eio, "damaged %s", c.what)
		}
		require.Equal(t, "1", mo.Cache(), "another file")

		// Later commits to others and to the same file are followed.
		s.WaitAt(other.Commit(harness.Blocks{0: "o" + c.what}))
		require.Equal(t, "o"+c.what, mo.Block(0))
		mended := l.Commit(func(tx *harness.LiveTx) { tx.Store(oid, good) })
		s.WaitAt(mended)
		f.CheckFd(fd, mended)
		f.Check(s, "head", mended)
		after := f.Commit(harness.Blocks{7: "after " + c.what, 150: "too"})
		s.WaitAt(after)
		f.CheckFd(fd, after)
	}
	require.True(t, s.Running())
	mo.Close()
}

func writeMany(tx *harness.LiveTx, f *harness.LiveFile, nblk int64) {
	for blk := range nblk {
		tx.Write(f, blk, "f"+string(rune('a'+blk%26)))
	}
}

// leafOf returns the oid of a child of the root of the table of f.
func leafOf(t *testing.T, tx *harness.LiveTx, f *harness.LiveFile, i int) zodb.Oid {
	data, _, err := tx.Txn.Load(tx.Table(f))
	require.NoError(t, err)
	root, err := btree.Decode(data)
	require.NoError(t, err)
	return root.Oids()[i]
}

// broken returns a record that no one can understand.
func broken(good []byte, rnd *rand.Rand) []byte {
	data := slices.Clone(good)
	for i := len(data) / 2; i < len(data); i++ {
		data[i] = byte(rnd.IntN(256))
	}
	return append(data, 0xff)
}

// countEIO returns how many blocks cannot be read. All others must be right.
func countEIO(t *testing.T, f *harness.LiveFile, fd int, nblk int64, at zodb.Tid, damaged string) (eio int) {
	data := make([]byte, f.BlkSize)
	for blk := range nblk {
		n, err := unix.Pread(fd, data, blk*f.BlkSize)
		if err != nil {
			require.Equal(t, unix.EIO, err)
			eio++
			continue
		}
		require.EqualValues(t, f.BlkSize, n)
		require.Equal(t, f.Text(blk, at), strings.TrimRight(string(data), "\x00"), "damaged %s: block %d", damaged, blk)
	}
	return eio
}
