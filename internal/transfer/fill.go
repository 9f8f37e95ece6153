package transfer

import (
	"bytes"
	"context"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/bigfile"
	"github.com/wcfs/wcfs/internal/btree"
	"github.com/wcfs/wcfs/internal/storage"
)

// filler puts data into the blocks of a file.
type filler struct {
	txn      btree.Txn
	file     zodb.Oid
	w        *bigfile.Writer
	end      int64 // number of blocks that were there before
	src      *Source
	progress func(int64)
	blocks   int64 // that were written
}

// run writes all data that comes to byte off of the file and further.
func (f *filler) run(ctx context.Context, off int64) error {
	blksize := f.w.BlkSize()
	blk, from := off/blksize, off%blksize
	size := blksize
	if f.src.size >= 0 {
		size = min(blksize, max(1, f.src.size))
		if from > 0 {
			size = min(blksize, from+f.src.size)
		}
	}
	buf := make([]byte, size)
	for ; ; blk++ {
		n, err := f.src.next(ctx, buf[from:])
		if err != nil {
			return err
		}
		if n > 0 {
			if err := f.block(ctx, blk, buf[:from+int64(n)], from); err != nil {
				return err
			}
			f.progress(int64(n))
		}
		if int64(n) < size-from {
			f.w.Flush()
			return nil
		}
		from = 0
	}
}

// block writes data[from:] to byte from of block blk. The rest of the block stays
// what it was.
func (f *filler) block(ctx context.Context, blk int64, data []byte, from int64) error {
	if blk < f.end && (from > 0 || int64(len(data)) < f.w.BlkSize()) {
		old, err := f.old(ctx, blk)
		if err != nil {
			return err
		}
		copy(data[:from], old)
		if len(old) > len(data) {
			data = append(bytes.Clone(data), old[len(data):]...)
		}
	}
	f.blocks++
	return f.w.WriteBlock(ctx, blk, data)
}

// old returns the content of a block before this transaction, without zeros at its
// end.
func (f *filler) old(ctx context.Context, blk int64) ([]byte, error) {
	src := txnLoader{f.txn}
	file, _, err := bigfile.Direct{Direct: btree.Direct{Loader: src}}.File(ctx, zodb.Xid{Oid: f.file, At: zodb.TidMax})
	if err != nil {
		return nil, err
	}
	found, err := btree.Lookup(ctx, strictNodes{src}, file.Table, zodb.TidMax, blk)
	if err != nil || !found.OK {
		return nil, err
	}
	block, err := bigfile.LoadBlock(ctx, src, found.Value, zodb.TidMax, file.BlkSize)
	if err != nil {
		return nil, err
	}
	defer block.Release()
	return bytes.Clone(block.Data), nil
}

// txnLoader loads objects as a transaction sees them, whatever the view.
type txnLoader struct{ txn btree.Txn }

func (l txnLoader) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	data, serial, err := l.txn.Load(xid.Oid)
	if err != nil {
		return nil, 0, err
	}
	buf := storage.NewBuf(len(data))
	copy(buf.Data, data)
	return buf, serial, nil
}
