package bigfile

import (
	"context"
	"errors"
	"fmt"
	"math"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Format says in which kind of ZBlk object a block is written.
type Format uint8

const (
	FormatZBlk0 Format = iota // the whole block in one record
	FormatZBlk1               // chunks of 4096 bytes, of which only changed ones are written
	FormatAuto                // ZBlk1 for small changes and appends, else ZBlk0
)

// ParseFormat parses "ZBlk0", "ZBlk1" or "auto".
func ParseFormat(s string) (Format, error) {
	for f := FormatZBlk0; f <= FormatAuto; f++ {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("unknown ZBlk format %q; there are ZBlk0, ZBlk1 and auto", s)
}

func (f Format) String() string {
	switch f {
	case FormatZBlk0:
		return "ZBlk0"
	case FormatZBlk1:
		return "ZBlk1"
	}
	return "auto"
}

// NewFile makes a ZBigFile without blocks, whose blocks will have blksize bytes.
func NewFile(txn btree.Txn, blksize int64) (oid zodb.Oid, err error) {
	if blksize <= 0 {
		return 0, fmt.Errorf("new ZBigFile: blksize: must be > 0; got %d", blksize)
	}
	oid = txn.New()
	table := btree.NewTree(txn, btree.LO)
	table.Flush()
	txn.Store(oid, EncodeFile(&File{BlkSize: blksize, Table: table.Oid()}))
	return oid, nil
}

// EncodeFile returns the record of a ZBigFile. It is the reverse of DecodeFile.
func EncodeFile(f *File) []byte {
	var e record.Encoder
	e.Reset(record.ZBigFile)
	e.BeginTuple(2)
	e.Int(f.BlkSize)
	e.Ref(f.Table, record.LOBTree)
	e.EndTuple(2)
	return e.Record()
}

// EncodeBlock returns the record of a ZBlk0 with data, whose zeros at the end are
// left out.
func EncodeBlock(data []byte) []byte { return encodeBytes(record.ZBlk0, trim(data)) }

// Writer writes blocks of one ZBigFile in one transaction. It stores the
// objects that wendelin.core would store, and in the same form.
//
// A Writer is for one goroutine. After an error it must be abandoned, and with
// it the transaction.
type Writer struct {
	txn     btree.Txn
	file    *File
	format  Format
	table   *btree.Editor
	written map[int64]bool // blocks written by this Writer
}

// NewWriter begins to write blocks of the ZBigFile oid. There must be at most
// one Writer for a file in a transaction: it knows what that has changed.
//
// Errors are those of txn.Load, *NotBigFileError, *storage.CorruptError.
func NewWriter(txn btree.Txn, oid zodb.Oid, format Format) (*Writer, error) {
	data, serial, err := txn.Load(oid)
	if err != nil {
		return nil, fmt.Errorf("write ZBigFile %s: %w", oid, err)
	}
	file, err := DecodeFile(data)
	var other *NotBigFileError
	if err != nil && !errors.As(err, &other) {
		err = &storage.CorruptError{Oid: oid, Tid: serial, Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("write ZBigFile %s: %w", oid, err)
	}
	table, err := btree.Edit(txn, btree.LO, file.Table)
	if err != nil {
		return nil, fmt.Errorf("write ZBigFile %s: %w", oid, err)
	}
	return &Writer{txn: txn, file: file, format: format, table: table, written: make(map[int64]bool)}, nil
}

// BlkSize returns the size of a block in bytes.
func (w *Writer) BlkSize() int64 { return w.file.BlkSize }

// Len returns the number of blocks in the file, holes included: one more than
// the highest block number.
func (w *Writer) Len() (int64, error) {
	last, ok, err := w.table.MaxKey()
	if err != nil || !ok {
		return 0, err
	}
	return max(last+1, 0), nil
}

// ReadBlock returns the content of block blk as the transaction sees it, without
// zeros at its end: nothing for a hole.
func (w *Writer) ReadBlock(ctx context.Context, blk int64) ([]byte, error) {
	zblk, exists, err := w.table.Get(blk)
	var data []byte
	if err == nil && exists {
		data, err = w.content(ctx, zblk.Oid)
	}
	if err != nil {
		return nil, fmt.Errorf("read block #%d: %w", blk, err)
	}
	return data, nil
}

// WriteBlock makes data, followed by zeros, the content of block blk. data is
// copied. It must not be longer than a block; zeros at its end need not be
// given. Blocks should be written in ascending order: that is what FormatAuto
// expects.
//
// Flush must be called before the transaction is committed.
func (w *Writer) WriteBlock(ctx context.Context, blk int64, data []byte) error {
	if err := w.writeBlock(ctx, blk, data); err != nil {
		return fmt.Errorf("write block #%d: %w", blk, err)
	}
	w.written[blk] = true
	return nil
}

func (w *Writer) writeBlock(ctx context.Context, blk int64, data []byte) error {
	switch {
	case int64(len(data)) > w.file.BlkSize:
		return errTooLong(int64(len(data)), w.file.BlkSize)
	case blk < 0 || blk >= math.MaxInt64/w.file.BlkSize:
		return ErrTooBig
	}
	data = trim(data)
	old, exists, err := w.table.Get(blk)
	if err != nil {
		return err
	}
	format := w.format
	if format == FormatAuto {
		if format, err = w.choose(ctx, blk, old, exists, data); err != nil {
			return err
		}
	}
	return w.put(ctx, blk, old, exists, data, format)
}

// Flush stores the block table in the transaction. It may be called again.
func (w *Writer) Flush() { w.table.Flush() }

// put writes block blk, whose object is old if exists, in the given format.
func (w *Writer) put(ctx context.Context, blk int64, old btree.Ref, exists bool, data []byte, format Format) error {
	zblk, state, err := w.blockObject(old, exists, format)
	if err != nil {
		return err
	}
	if zblk.Oid != old.Oid || !exists {
		if err := w.table.Set(blk, zblk); err != nil {
			return err
		}
	}
	if format == FormatZBlk0 {
		w.txn.Store(zblk.Oid, EncodeBlock(data))
		return nil
	}
	return w.putChunks(ctx, zblk.Oid, state, data)
}

// blockObject returns the object for a block: the one it has if the class is
// that of format, else a new one, which is not stored yet and has a zero state.
func (w *Writer) blockObject(old btree.Ref, exists bool, format Format) (btree.Ref, blockState, error) {
	if exists {
		state, err := w.blockState(old.Oid)
		if err != nil {
			return btree.Ref{}, blockState{}, err
		}
		if state.chunked == (format == FormatZBlk1) {
			return old, state, nil
		}
	}
	class := record.ZBlk0
	if format == FormatZBlk1 {
		class = record.ZBlk1
	}
	return btree.Ref{Oid: w.txn.New(), Class: class}, blockState{}, nil
}

func (w *Writer) blockState(zblk zodb.Oid) (blockState, error) {
	data, serial, err := w.txn.Load(zblk)
	if err != nil {
		return blockState{}, err
	}
	state, err := decodeBlock(data)
	if err != nil {
		return blockState{}, &storage.CorruptError{Oid: zblk, Tid: serial, Err: err}
	}
	return state, nil
}

// content returns the data of block object zblk, without zeros at its end.
func (w *Writer) content(ctx context.Context, zblk zodb.Oid) ([]byte, error) {
	block, err := LoadBlock(ctx, TxnLoader{w.txn}, zblk, zodb.TidMax, w.file.BlkSize)
	if err != nil {
		return nil, err
	}
	defer block.Release()
	return append([]byte(nil), block.Data...), nil
}

// TxnLoader loads objects as a transaction sees them, whatever the view.
type TxnLoader struct{ Txn btree.Txn }

func (l TxnLoader) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	data, serial, err := l.Txn.Load(xid.Oid)
	if err != nil {
		return nil, 0, err
	}
	buf := storage.NewBuf(len(data))
	copy(buf.Data, data)
	return buf, serial, nil
}

// encodeBytes returns the record of a ZBlk0 or ZData.
func encodeBytes(class record.Class, data []byte) []byte {
	var e record.Encoder
	e.Reset(class)
	e.Bytes(data)
	return e.Record()
}
