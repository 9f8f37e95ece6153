package demo

import (
	"context"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// arrayName is what the root object refers to the array by.
const arrayName = "array"

// writer commits to the database.
type writer struct {
	db   *zwrite.DB
	file zodb.Oid // the ZBigFile
	last int64    // number of the last commit
	now  state
}

// createDatabase makes the database path with the array, by commit 1.
func createDatabase(ctx context.Context, path string) (w *writer, tid zodb.Tid, err error) {
	db, err := zwrite.Create(ctx, path, zwrite.Options{})
	if err != nil {
		return nil, 0, fmt.Errorf("create the database: %w", err)
	}
	w = &writer{db: db, last: 1, now: firstState()}
	tid, err = w.transact(ctx, "create the array", func(txn *zwrite.Txn) error { return w.create(ctx, txn) })
	if err != nil {
		_ = db.Close()
		return nil, 0, err
	}
	return w, tid, nil
}

// create makes the array: a ZBigArray, which says how the bytes of its ZBigFile
// are to be understood.
func (w *writer) create(ctx context.Context, txn *zwrite.Txn) (err error) {
	if w.file, err = bigfile.NewFile(txn, blkSize); err != nil {
		return err
	}
	dtype, err := ndarray.ParseDType("<i8")
	if err != nil {
		return err
	}
	array := &ndarray.Array{DType: dtype, Shape: []int64{nelem}, Order: ndarray.RowMajor, File: w.file}
	ref := btree.Ref{Oid: txn.New(), Class: record.ZBigArray}
	txn.Store(ref.Oid, ndarray.EncodeArray(array))
	if err := zwrite.SetName(txn, arrayName, ref); err != nil {
		return err
	}
	all := make([]int64, nblk)
	for blk := range all {
		all[blk] = int64(blk)
	}
	return w.write(ctx, txn, all...)
}

// commit changes some blocks.
func (w *writer) commit(ctx context.Context) (zodb.Tid, error) {
	w.last++
	w.now = w.now.after(w.last)
	blks := changedBy(w.last)
	return w.transact(ctx, fmt.Sprintf("change blocks %v", blks), func(txn *zwrite.Txn) error {
		return w.write(ctx, txn, blks...)
	})
}

// transact commits what change does.
func (w *writer) transact(ctx context.Context, note string, change func(txn *zwrite.Txn) error) (zodb.Tid, error) {
	txn, err := w.db.Begin(ctx, zwrite.Meta{User: []byte("demo"), Description: []byte(note)})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", note, err)
	}
	defer txn.Abort()
	if err := change(txn); err != nil {
		return 0, fmt.Errorf("%s: %w", note, err)
	}
	tid, err := txn.Commit()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", note, err)
	}
	return tid, nil
}

// write gives blocks the content that the state says.
func (w *writer) write(ctx context.Context, txn *zwrite.Txn, blks ...int64) error {
	file, err := bigfile.NewWriter(txn, w.file, bigfile.FormatZBlk0)
	if err != nil {
		return err
	}
	for _, blk := range blks {
		if err := file.WriteBlock(ctx, blk, content(w.now[blk])); err != nil {
			return err
		}
	}
	file.Flush()
	return nil
}

func (w *writer) close() error {
	if err := w.db.Close(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}
