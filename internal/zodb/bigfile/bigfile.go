// Package bigfile reads arrays: ZBigFile objects and the blocks they consist of.
//
// # Nouns
//
// A File is a decoded ZBigFile: a block size and a block table. The table is a
// LOBTree from block numbers to ZBlk objects; a block that is not in it is a
// hole and reads as zeros. A Block is the data of one ZBlk object, without the
// zeros at its end. ZBlk0 (and ZBlk, its old name) keeps the data in its own
// record. ZBlk1 keeps it in chunks: an IOBTree from offsets to ZData objects.
//
// # Ownership and locking
//
// A File is immutable and may be shared and kept. A Block refers to the buffer
// its data was loaded into: its owner releases it. LoadBlock loads the chunks of
// a ZBlk1 as storage.LoadEach does, and returns when none is under way any more.
//
// # Caveats
//
// The revision of a block is that of its ZBlk object, also for ZBlk1: a
// writer that changes a chunk stores the ZBlk1 as well. Sizes of chunks are
// not assumed. Package wendelin.bigfile.file_zodb is the authority on all of
// this.
package bigfile

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"
	"unsafe"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// File is a decoded ZBigFile.
type File struct {
	BlkSize int64    // bytes of a block, > 0
	Table   zodb.Oid // LOBTree: block number -> ZBlk
}

// MemSize returns how much memory f takes, in bytes.
func (f *File) MemSize() int { return int(unsafe.Sizeof(*f)) }

// NotBigFileError says that an object is fine but not an array.
type NotBigFileError struct {
	Class string // of the object, as module.name
}

func (e *NotBigFileError) Error() string {
	return fmt.Sprintf("%.200s is not a ZBigFile", e.Class)
}

func (e *NotBigFileError) Kind() fault.Kind { return fault.NotFile }

// DecodeFile decodes the record of a ZBigFile. An object of another class gives
// *NotBigFileError, even if its state is beyond us; other errors say what is
// wrong with the record. None of them names the object; the caller does.
func DecodeFile(data []byte) (*File, error) {
	f := &File{}
	err := record.Decode(data, func(class record.Class, state record.Value) error {
		if class != record.ZBigFile {
			return &NotBigFileError{Class: class.String()}
		}
		return f.setState(state)
	})
	var damage *record.Error
	if errors.As(err, &damage) {
		if class, err := record.ClassOf(data); err == nil && class != record.ZBigFile {
			return nil, &NotBigFileError{Class: class.String()}
		}
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// setState takes the state (blksize, blktab).
func (f *File) setState(state record.Value) error {
	if state.Len() != 2 {
		return fmt.Errorf("expect [2](); got %s", state)
	}
	blksize, ok := state.At(0).Int()
	if !ok {
		return fmt.Errorf("blksize: expect integer; got %s", state.At(0))
	}
	if blksize <= 0 {
		return fmt.Errorf("blksize: must be > 0; got %d", blksize)
	}
	table, ok := state.At(1).Ref()
	if !ok || !refersTo(state.At(1), record.LOBTree) {
		return fmt.Errorf("blktab: expect LOBTree; got %s", state.At(1))
	}
	f.BlkSize, f.Table = blksize, table
	return nil
}

// refersTo reports whether a reference may be to an object of class want. A
// reference that does not tell the class may.
func refersTo(ref record.Value, want record.Class) bool {
	class := ref.RefClass()
	return class == record.Class{} || class.Module == want.Module && (class.Name == want.Name || class.Name == want.Name+"Py")
}

// Source gives the files and the nodes of their block tables.
type Source interface {
	btree.Source

	// File returns the ZBigFile xid.Oid as of view xid.At, with its serial.
	// Errors are those of storage.Loader, *NotBigFileError, and
	// *storage.CorruptError if the record cannot be right.
	File(ctx context.Context, xid zodb.Xid) (f *File, serial zodb.Tid, err error)
}

// Direct is a Source that loads and decodes each object when asked.
type Direct struct {
	btree.Direct
}

// File implements Source.
func (d Direct) File(ctx context.Context, xid zodb.Xid) (*File, zodb.Tid, error) {
	buf, serial, err := d.Loader.Load(ctx, xid)
	if err != nil {
		return nil, 0, err
	}
	defer buf.Release()
	f, err := DecodeFile(buf.Data)
	var other *NotBigFileError
	if err != nil && !errors.As(err, &other) {
		err = &storage.CorruptError{Oid: xid.Oid, Tid: serial, Err: err}
	}
	return f, serial, err
}

// ErrTooBig says that a file has more bytes than a file can have.
var ErrTooBig = fmt.Errorf("size of the array overflows: %w", syscall.EFBIG)

// Size returns the size of f as of view at in bytes: up to the end of its last
// block. path has the nodes of the block table that the result depends on, see
// btree.MaxKey; the ZBigFile is not among them. The error wraps ErrTooBig if the
// size does not fit into 63 bits.
func Size(ctx context.Context, src btree.Source, f *File, at zodb.Tid) (size int64, path []btree.Step, err error) {
	last, ok, path, err := btree.MaxKey(ctx, src, f.Table, at)
	if err != nil {
		return 0, nil, err
	}
	if !ok || last < 0 { // blocks below 0 cannot be read
		return 0, path, nil
	}
	if last >= math.MaxInt64/f.BlkSize {
		return 0, nil, fmt.Errorf("last block #%d of %d bytes: %w", last, f.BlkSize, ErrTooBig)
	}
	return (last + 1) * f.BlkSize, path, nil
}
