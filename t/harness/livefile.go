package harness

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// LiveFile is a ZBigFile of a Live.
type LiveFile struct {
	L       *Live
	Oid     zodb.Oid
	BlkSize int64 // when it was made
}

// Blocks is what to write to a file.
type Blocks map[int64]string

// Commit commits new content of blocks.
func (f *LiveFile) Commit(blocks Blocks) zodb.Tid {
	f.L.T.Helper()
	return f.L.Commit(func(tx *LiveTx) {
		for _, blk := range slices.Sorted(maps.Keys(blocks)) {
			tx.Write(f, blk, blocks[blk])
		}
	})
}

// CommitChunks commits new content of one block in format ZBlk1.
func (f *LiveFile) CommitChunks(blk int64, data string) zodb.Tid {
	f.L.T.Helper()
	return f.L.Commit(func(tx *LiveTx) {
		w, err := bigfile.NewWriter(tx.Txn, f.Oid, bigfile.FormatZBlk1)
		require.NoError(f.L.T, err)
		require.NoError(f.L.T, w.WriteBlock(context.Background(), blk, []byte(data)))
		w.Flush()
		table, model := tx.edit(f)
		ref, _, err := table.Get(blk)
		require.NoError(f.L.T, err)
		model[blk] = ref.Oid
		tx.changes[ref.Oid] = liveBlk(strings.TrimRight(data, "\x00"))
	})
}

// Path returns the file in a view, "head" or "@...".
func (f *LiveFile) Path(s *Server, view string) string {
	return s.Path(view, "bigfile", f.Oid.String())
}

// Size returns how many bytes the file has at a view, -1 if it does not exist.
func (f *LiveFile) Size(at zodb.Tid) (size int64) {
	obj, ok := f.L.at(f.Oid, at).(liveFile)
	if !ok {
		return -1
	}
	for blk := range f.L.at(obj.table, at).(liveTable) {
		size = max(size, (blk+1)*obj.blksize)
	}
	return size
}

// Text returns a block at a view, without the zeros at its end.
func (f *LiveFile) Text(blk int64, at zodb.Tid) string {
	obj := f.L.at(f.Oid, at).(liveFile)
	text, _ := f.L.at(f.L.at(obj.table, at).(liveTable)[blk], at).(liveBlk)
	return string(text)
}

// Check compares the file at a view with the model: size and all blocks.
func (f *LiveFile) Check(s *Server, view string, at zodb.Tid) {
	f.L.T.Helper()
	if f.Size(at) < 0 {
		var st unix.Stat_t
		err := Uninterrupted(func() error { return unix.Lstat(f.Path(s, view), &st) })
		require.ErrorIs(f.L.T, err, unix.EINVAL, "%s does not exist @%s", f.Oid, at)
		return
	}
	fd, err := OpenFile(f.Path(s, view), unix.O_RDONLY)
	require.NoError(f.L.T, err)
	defer unix.Close(fd)
	f.CheckFd(fd, at)
}

// CheckFd is Check of an open descriptor.
func (f *LiveFile) CheckFd(fd int, at zodb.Tid) {
	f.L.T.Helper()
	require.Equal(f.L.T, f.Size(at), SizeOf(f.L.T, fd), "size of %s @%s", f.Oid, at)
	blksize := f.L.at(f.Oid, at).(liveFile).blksize
	data := make([]byte, blksize)
	for blk := range f.Size(at) / blksize {
		n, err := unix.Pread(fd, data, blk*blksize)
		require.NoError(f.L.T, err)
		want := f.Text(blk, at)
		if n != len(data) || strings.TrimRight(string(data), "\x00") != want {
			f.L.T.Fatalf("%s #%d @%s: %d bytes %.40q; want %.40q", f.Oid, blk, at, n, data, want)
		}
	}
}

// SizeOf returns the size that fstat tells.
func SizeOf(t testing.TB, fd int) int64 {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(fd, &st))
	return st.Size
}

// WaitAt waits until head/at shows tid.
func (s *Server) WaitAt(tid zodb.Tid) {
	s.T.Helper()
	Until(s.T, fmt.Sprintf("head/at shows %s", tid), func() bool {
		at := Content(s.T, s.Path("head/at"))
		require.LessOrEqual(s.T, at, tid.String(), "head/at shows what was not committed")
		return at == tid.String()
	})
}
