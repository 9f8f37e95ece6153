package client

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestLoad in all ways: by the system call for it, and by that of old kernels.
func TestLoad(t *testing.T) {
	f := newFake(t, 5)
	f.setFile("head", oid, "abcd")
	m := mmap(t, f.opened(oid, 1), 1, 5)
	require.NoError(t, m.Load(t.Context(), 1, 5))
	for blk := range int64(5) {
		require.NoError(t, m.touch(blk*page))
	}
	require.Panics(t, func() { _ = m.Load(t.Context(), 0, 1) })
	require.Panics(t, func() { _ = m.Load(t.Context(), 4, 3) })
	require.NoError(t, os.Truncate(f.dir+"/head/bigfile/"+oid.String(), 2*page))
	var fault *FaultError
	require.ErrorAs(t, m.Load(t.Context(), 1, 5), &fault)
	require.EqualValues(t, page, fault.Off)
	require.ErrorAs(t, m.touch(2*page), &fault)
	require.Equal(t, "b!!..", letters(m))
	f.closed(3)
	require.ErrorIs(t, m.Load(t.Context(), 1, 1), ErrClosed)
	require.NoError(t, m.Unmap())
	require.NoError(t, m.Unmap())
	require.ErrorIs(t, m.Load(t.Context(), 1, 1), ErrUnmapped)
	require.ErrorIs(t, m.View(nil), ErrUnmapped)
	require.Nil(t, m.Data())
}

// TestView: panics that are not about the mapping go through.
func TestView(t *testing.T) {
	f := newFake(t, 5)
	f.setFile("head", oid, "ab")
	m := mmap(t, f.opened(oid, 1), 0, 2)
	theirs := errors.New("theirs")
	require.Equal(t, theirs, m.View(func([]byte) error { return theirs }))
	require.PanicsWithValue(t, "theirs", func() { _ = m.View(func([]byte) error { panic("theirs") }) })
	var none *int
	require.Panics(t, func() { _ = m.View(func([]byte) error { *none = 1; return nil }) })
	f.closed(3)
	err := m.View(func(data []byte) error { _ = letterOf(data[page+5]); return nil })
	var fault *FaultError
	require.ErrorAs(t, err, &fault)
	require.EqualValues(t, page+5, fault.Off)
	require.ErrorIs(t, err, ErrClosed)
}

//go:noinline
func letterOf(b byte) string { return string(rune(b)) }

// TestBlockSizes: what cannot be mapped, and what contradicts itself.
func TestBlockSizes(t *testing.T) {
	_, err := newMapping(page/2, 0, 1)
	require.ErrorIs(t, err, ErrNotMappable)
	for _, c := range [][2]int64{{-1, 1}, {0, 0}, {0, -1}, {1 << 60, 1}, {0, 1 << 60}, {1<<62 - 1, 1<<62 - 1}} {
		require.Panics(t, func() { _, _ = newMapping(page, c[0], c[1]) }, c)
	}
	f := newFake(t, 5)
	f.write("head/bigfile/"+oid.String(), "not a whole block")
	_, err = f.c.Open(t.Context(), oid)
	require.ErrorIs(t, err, ErrBadFile)
	_, err = f.c.Open(t.Context(), other)
	require.ErrorIs(t, err, ErrNotBigFile)
	f.closed(1)
}

// TestSnapshot: a past view needs no link.
func TestSnapshot(t *testing.T) {
	f := newFake(t, 5)
	f.setFile("@0000000000000004", oid, "abc")
	f.setFile("@0000000000000005", oid, "abcd")
	f.closed(1)
	s, err := f.w.Snapshot(t.Context(), 4)
	require.NoError(t, err)
	file, err := s.Open(t.Context(), oid)
	require.NoError(t, err)
	require.EqualValues(t, 3*page, file.Size())
	m, err := file.Mmap(1, 4)
	require.NoError(t, err)
	far, err := file.Mmap(7, 1)
	require.NoError(t, err)
	data := make([]byte, 2*page)
	n, err := file.ReadAt(data, 2*page+1)
	require.NoError(t, err)
	require.Equal(t, len(data), n)
	require.Equal(t, "c\x00", string(data[page-2:page]))
	require.NoError(t, file.Close())
	require.NoError(t, file.Close())
	_, err = file.ReadAt(data, 0)
	require.ErrorIs(t, err, ErrFileClosed)
	require.Equal(t, "bc..", letters(m))
	require.Equal(t, ".", letters(far))
	require.NoError(t, errors.Join(m.Unmap(), far.Unmap()))
	s, err = f.w.Snapshot(t.Context(), Head)
	require.NoError(t, err)
	require.Equal(t, Tid(5), s.At())
	_, err = s.Open(t.Context(), other)
	require.ErrorIs(t, err, ErrNotBigFile)
}

// TestJoin: what is not there, and what is closed.
func TestJoin(t *testing.T) {
	dir := t.TempDir()
	_, err := JoinMount(t.Context(), dir)
	require.ErrorIs(t, err, ErrNotRunning)
	_, err = Join(t.Context(), "file://"+dir+"/data.fs")
	require.ErrorIs(t, err, ErrNotRunning)
	_, err = Join(t.Context(), "nothing://at/all")
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrNotRunning)
	f := newFake(t, 5)
	require.Equal(t, "file:///data.fs", f.w.ZURL())
	_, err = JoinMount(t.Context(), f.dir)
	require.ErrorIs(t, err, ErrNotRunning, "files that look like a mount are none")
	f.closed(1)
	require.NoError(t, f.w.Close())
	_, err = f.w.Connect(t.Context(), Head)
	require.ErrorIs(t, err, ErrClosed)
	require.Equal(t, unix.EBADF, unix.Fstat(f.w.dir, new(unix.Stat_t)))
}
