package transfer

import (
	"bytes"
	"context"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// Sizes of blocks, in bytes.
const (
	DefaultBlkSize = 2 << 20 // that of wendelin.core
	MaxBlkSize     = 1 << 30 // what is taken into memory at a time
)

// Options says how to write an array. The zero Options write ZBlk0.
type Options struct {
	Format   bigfile.Format
	BlkSize  int64       // of a new array, 0 for DefaultBlkSize
	Message  string      // description of the transaction; "": made from what is done
	Replace  bool        // an array or file that has the name already loses it to the new one
	Progress func(int64) // told how many more bytes were taken; may be nil
}

// Beginnings of what a transaction is described as by default. A transaction that
// begins so and is unfinished can be done again.
const (
	importMessage = "wcfs import "
	appendMessage = "wcfs append "
	removeMessage = "wcfs rm "
	moveMessage   = "wcfs mv "
)

// Repeatable reports by its description whether a transaction was one of ours that can
// be done again.
func Repeatable(description []byte) bool {
	for _, begin := range []string{importMessage, appendMessage, removeMessage, moveMessage} {
		if bytes.HasPrefix(description, []byte(begin)) {
			return true
		}
	}
	return false
}

// Result says what was written.
type Result struct {
	Oid    zodb.Oid      // of the ZBigArray
	Array  ndarray.Array // as it is now
	Rows   int64         // steps along the major axis that are new; 0 without axes
	Bytes  int64         // of data that was taken
	Blocks int64         // that were written
	Tid    zodb.Tid
}

var errBlkSize = fmt.Errorf("size of blocks must be from 1 to %d bytes", MaxBlkSize)

// Import writes src as a new array, which gets a name in the root object, in one
// transaction. The order of the items stays what it is. With opt.Replace a name that
// is there is taken over, also one in a folder.
//
// Errors: of kinds fault.Exists, fault.Input and fault.Changed, that of CheckName, the error of ctx,
// those of zwrite. After any of them nothing was written, but see zwrite.Txn.Commit.
func Import(ctx context.Context, db zwrite.Store, src *Source, name string, opt Options) (res Result, err error) {
	defer failed(&err, "import", name)
	opt = opt.withDefaults(importMessage+"%s as %s", src.Path, name)
	if opt.BlkSize < 1 || opt.BlkSize > MaxBlkSize {
		return res, errBlkSize
	}
	if err := src.settle(flatBytes()); err != nil {
		return res, err
	}
	txn, err := db.Begin(ctx, zwrite.Meta{Description: []byte(opt.Message)})
	if err != nil {
		return res, err
	}
	defer txn.Abort()
	at, err := newPlace(ctx, txn, name, opt.Replace, false)
	if err != nil {
		return res, err
	}
	if err := res.create(ctx, txn, src, opt); err != nil {
		return res, err
	}
	if err := at.set(btree.Ref{Oid: res.Oid, Class: record.ZBigArray}); err != nil {
		return res, err
	}
	res.Tid, err = txn.Commit()
	return res, err
}

func (o Options) withDefaults(message string, path, name string) Options {
	if o.BlkSize == 0 {
		o.BlkSize = DefaultBlkSize
	}
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	if o.Message == "" {
		o.Message = fmt.Sprintf(message, path, name)
	}
	return o
}

// flatBytes is what plain data is taken for of which nothing else is said.
func flatBytes() *ndarray.Array {
	uint8s, err := ndarray.ParseDType("uint8")
	if err != nil {
		panic("BUG: transfer: " + err.Error())
	}
	return &ndarray.Array{DType: uint8s, Shape: []int64{0}, Order: ndarray.RowMajor}
}

// create writes src as an array that has no name yet.
func (res *Result) create(ctx context.Context, txn *zwrite.Txn, src *Source, opt Options) error {
	file, err := bigfile.NewFile(txn, opt.BlkSize)
	if err != nil {
		return err
	}
	if err := res.write(ctx, txn, src, file, 0, opt); err != nil {
		return err
	}
	if err := src.settle(flatBytes()); err != nil {
		return err
	}
	res.Array = *src.array()
	res.Array.File = file
	res.Rows = rows(&res.Array)
	res.Oid = txn.New()
	txn.Store(res.Oid, ndarray.EncodeArray(&res.Array))
	return nil
}

// rows returns the length of the major axis, 0 if there is no axis.
func rows(a *ndarray.Array) int64 {
	if len(a.Shape) == 0 {
		return 0
	}
	return a.Shape[majorAxis(a)]
}

// write writes the data of src to file, from byte off on.
func (res *Result) write(ctx context.Context, txn *zwrite.Txn, src *Source, file zodb.Oid, off int64, opt Options) error {
	w, err := bigfile.NewWriter(txn, file, opt.Format)
	if err != nil {
		return err
	}
	if w.BlkSize() > MaxBlkSize {
		return errBlkSize
	}
	f := filler{w: w, src: src, progress: opt.Progress, txn: txn}
	if f.end, err = w.Len(); err != nil {
		return err
	}
	err = f.run(ctx, off)
	res.Bytes, res.Blocks = src.done, f.blocks
	return err
}
