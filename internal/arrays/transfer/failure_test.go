package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// TestInputThatCannotBeUsed is refused with the name of the file, and nothing is
// written: be it a file, of which the size is known, or a pipe.
func TestInputThatCannotBeUsed(t *testing.T) {
	good := npy{descr: "'<f8'", item: 8, shape: []int64{2, 3}, data: make([]byte, 48)}
	file := good.bytes()
	f8, v0 := dtypeOf(t, "<f8"), dtypeOf(t, "V0")
	db := createDB(t, zwrite.Options{})
	_, err := Import(ctx, db, source(t, file, false, Layout{}), "arr", Options{})
	require.NoError(t, err)
	head := db.Head()
	for _, c := range []struct {
		name   string
		input  []byte
		layout Layout
		append bool
		want   string
	}{
		{"cut in the magic", file[:5], Layout{DType: f8}, false, "5 bytes of data, which is no multiple of 8"},
		{"cut behind the magic", file[:6], Layout{}, false, "is an .npy file that is cut off in its header: 4 bytes and its data are missing"},
		{"cut in the header", file[:70], Layout{}, false, "cut off in its header: 58 bytes and its data are missing"},
		{"no data", file[:128], Layout{}, false, "0 bytes of data instead of the 48 of <f8 (2, 3); it is cut off: 48 bytes are missing"},
		{"cut in the data", file[:len(file)-1], Layout{}, false, "47 bytes of data instead of the 48"},
		{"a byte more", append(file[:len(file):len(file)], 0), Layout{}, false, "49 bytes of data instead of the 48"},
		{"layout for .npy", file, Layout{DType: f8}, false, "says its dtype, shape and order itself"},
		{"a part of an item", make([]byte, 15), Layout{DType: f8}, false, "15 bytes of data, which is no multiple of 8"},
		{"items of no bytes", make([]byte, 15), Layout{DType: v0}, false, "which is no multiple of 0 bytes"},
		{"too little for the shape", make([]byte, 16), Layout{DType: f8, Shape: []int64{3}}, false, "16 bytes of data instead of the 24"},
		{"too much for the shape", make([]byte, 32), Layout{DType: f8, Shape: []int64{3}}, false, "bytes of data instead of the 24"},
		{"too much for one value", make([]byte, 2), Layout{Shape: []int64{}}, false, "2 bytes of data instead of the 1 of |u1 ()"},
		{"too many bytes", nil, Layout{Shape: []int64{1 << 62, 4}}, false, "63 bits"},
		{"other dtype", make([]byte, 24), Layout{DType: dtypeOf(t, "<i8")}, true, "and arr is <f8 (2, 3); the dtypes must be equal"},
		{"other order", make([]byte, 24), Layout{Order: ndarray.ColumnMajor}, true, "the orders must be equal"},
		{"other shape", make([]byte, 32), Layout{Shape: []int64{1, 4}}, true, "equal but for axis 0"},
		{"fewer axes", make([]byte, 24), Layout{Shape: []int64{3}}, true, "equal but for axis 0"},
		{"more axes", make([]byte, 24), Layout{Shape: []int64{1, 3, 1}}, true, "equal but for axis 0"},
		{"no full row", make([]byte, 25), Layout{}, true, "25 bytes of data, which is no multiple of 24 bytes"},
	} {
		for _, pipe := range []bool{false, true} {
			label := fmt.Sprintf("%s, pipe %t", c.name, pipe)
			src, err := trySource(c.input, pipe, c.layout)
			write, name := Import, "new"
			if c.append {
				write, name = Append, "arr"
			}
			early := err != nil
			if err == nil {
				_, err = write(ctx, db, src, name, Options{})
			}
			if c.name == "cut in the data" {
				require.Equal(t, !pipe, early, "%s: the size of a file tells before anything is written", label)
			}
			require.Equal(t, fault.Input, fault.Of(err), label)
			require.ErrorContains(t, err, "x.npy: ", label)
			if !pipe || c.name != "a byte more" && c.name != "too much for the shape" && c.name != "too much for one value" {
				require.ErrorContains(t, err, c.want, label)
			} else {
				require.ErrorContains(t, err, "at least", label)
			}
			require.Equal(t, head, db.Head(), label)
		}
	}
}

// TestInputThatBreaksOff: what the operating system says is told, whether the file
// cannot be opened or fails in between.
func TestInputThatBreaksOff(t *testing.T) {
	db := createDB(t, zwrite.Options{})
	broken := io.MultiReader(bytes.NewReader(make([]byte, 100)), iotest.ErrReader(syscall.EIO))
	src, err := NewSource(broken, "dev", -1, Layout{Raw: true})
	require.NoError(t, err)
	_, err = Import(ctx, db, src, "x", Options{BlkSize: 16})
	require.Equal(t, fault.Input, fault.Of(err))
	require.ErrorIs(t, err, syscall.EIO)
	require.Zero(t, db.Head())

	dir := t.TempDir()
	_, err = OpenSource(ctx, filepath.Join(dir, "none"), Layout{})
	require.Equal(t, fault.Input, fault.Of(err))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = OpenSource(ctx, dir, Layout{})
	require.Equal(t, fault.Input, fault.Of(err))
}

// TestImportNeverReplaces: whatever has the name, even a value that is no object.
func TestImportNeverReplaces(t *testing.T) {
	db := createDB(t, zwrite.Options{})
	_, err := Import(ctx, db, source(t, []byte("ab"), false, Layout{}), "a", Options{})
	require.NoError(t, err)
	head := db.Head()
	_, err = Import(ctx, db, source(t, []byte("ab"), false, Layout{}), "a", Options{})
	require.Equal(t, fault.Exists, fault.Of(err))
	require.ErrorContains(t, err, "a exists already")

	txn := begin(t, db)
	root, _, err := txn.Load(zwrite.RootOid)
	require.NoError(t, err)
	// The reference to the array becomes None.
	ref := root[bytes.LastIndex(root, []byte("C\x08")):]
	txn.Store(zwrite.RootOid, bytes.Replace(root, ref[:bytes.IndexByte(ref, 'Q')+1], []byte("N"), 1))
	commit(t, txn)
	_, err = Import(ctx, db, source(t, []byte("ab"), false, Layout{}), "a", Options{})
	require.Equal(t, fault.Exists, fault.Of(err))
	require.Greater(t, db.Head(), head)
}

// TestImportNeverReplacesInOldRoots, which keep their items under another key.
func TestImportNeverReplacesInOldRoots(t *testing.T) {
	db := createDB(t, zwrite.Options{})
	txn := begin(t, db)
	txn.Store(zwrite.RootOid, []byte("cPersistence\nPersistentMapping\nq\x01."+
		"}q\x02U\n_containerq\x03}q\x04U\x01aq\x05K\x01ss."))
	commit(t, txn)
	_, err := Import(ctx, db, source(t, []byte("ab"), false, Layout{}), "a", Options{})
	require.Equal(t, fault.Exists, fault.Of(err))
	_, err = Import(ctx, db, source(t, []byte("ab"), false, Layout{}), "b", Options{})
	require.NoError(t, err)
}

// TestCancelledImportWritesNothing: at any time, also when it waits for data.
func TestCancelledImportWritesNothing(t *testing.T) {
	db := createDB(t, zwrite.Options{Buffer: 1000})
	for _, after := range []int64{0, 64, 8000} {
		ctx, cancel := context.WithCancel(ctx)
		src := source(t, make([]byte, 10_000), true, Layout{})
		done := int64(0)
		opt := Options{BlkSize: 64, Progress: func(n int64) {
			if done += n; done >= after {
				cancel()
			}
		}}
		if after == 0 {
			cancel()
		}
		_, err := Import(ctx, db, src, "a", opt)
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, db.Head())
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	w, err := os.OpenFile(pipe, os.O_RDWR, 0)
	require.NoError(t, err)
	defer w.Close()
	_, err = w.Write(make([]byte, 100))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(ctx)
	src, err := OpenSource(ctx, pipe, Layout{Raw: true})
	require.NoError(t, err)
	defer src.Close()
	_, err = Import(ctx, db, src, "a", Options{BlkSize: 50, Progress: func(int64) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, db.Head())
}

// fullDisk fails one of the writes that make a file longer, and those after it.
type fullDisk struct {
	zwrite.File
	left *int // writes that still work; negative: all do
}

var errFull = fmt.Errorf("write: %w", syscall.ENOSPC)

func (f fullDisk) WriteAt(b []byte, off int64) (int, error) {
	if *f.left == 0 {
		n, _ := f.File.WriteAt(b[:len(b)/2], off) // a part still fits
		return n, errFull
	}
	*f.left--
	return f.File.WriteAt(b, off)
}

// TestFullDiskLeavesTheDatabaseAsItWas, at whichever write the disk gets full, and
// it can be written as soon as there is room.
func TestFullDiskLeavesTheDatabaseAsItWas(t *testing.T) {
	left := -1
	db := createDB(t, zwrite.Options{Buffer: 50_000, Wrap: func(f zwrite.File) zwrite.File { return fullDisk{f, &left} }})
	data := randomBytes(newRand(t, 0), 500_000)
	_, err := Import(ctx, db, source(t, data, false, Layout{}), "first", Options{BlkSize: 40_000}) // big enough to be written one by one
	require.NoError(t, err)
	want, err := os.ReadFile(db.Path())
	require.NoError(t, err)
	for i := 0; ; i++ {
		left = i
		write, name := Import, fmt.Sprint("a", i)
		if i%2 == 1 {
			write, name = Append, "first"
		}
		_, err := write(ctx, db, source(t, data, i%3 == 0, Layout{}), name, Options{BlkSize: 40_000})
		if err == nil {
			require.Greater(t, i, 8, "steps")
			return
		}
		left = -1
		require.ErrorIs(t, err, syscall.ENOSPC)
		var uncertain *zwrite.UncertainError
		require.False(t, errors.As(err, &uncertain))
		got, err := os.ReadFile(db.Path())
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "write %d failed", i)
	}
}

// endless is much data, of which somebody counts what was taken.
type endless struct{ taken int }

func (e *endless) Read(p []byte) (int, error) {
	if e.taken > 50_000_000 {
		return 0, io.EOF
	}
	e.taken += copy(p, bytes.Repeat([]byte{1}, len(p)))
	return len(p), nil
}

// TestTroubleIsToldAtOnce, not when all data was read, whatever the format of blocks
// needs to load before.
func TestTroubleIsToldAtOnce(t *testing.T) {
	for _, format := range []bigfile.Format{bigfile.FormatZBlk0, bigfile.FormatZBlk1, bigfile.FormatAuto} {
		left := 5
		db := createDB(t, zwrite.Options{Buffer: 50_000, Wrap: func(f zwrite.File) zwrite.File { return fullDisk{f, &left} }})
		data := &endless{}
		src, err := NewSource(data, "pipe", -1, Layout{Raw: true})
		require.NoError(t, err)
		_, err = Import(ctx, db, src, "a", Options{BlkSize: 40_000, Format: format})
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.Less(t, data.taken, 5_000_000)
	}
}
