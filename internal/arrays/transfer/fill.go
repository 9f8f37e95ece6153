package transfer

import (
	"bytes"
	"context"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// filler puts data into the blocks of a file.
type filler struct {
	w        *bigfile.Writer
	end      int64 // number of blocks that were there before
	src      *Source
	progress func(int64)
	txn      *zwrite.Txn
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
	for before, begin := f.txn.Mark(), f.txn.Mark(); ; blk++ {
		n, err := f.src.next(ctx, buf[from:])
		if err != nil {
			return err
		}
		if n > 0 {
			if err := f.block(ctx, blk, buf[:from+int64(n)], from); err != nil {
				return err
			}
			// A block may be written anew when the next one comes, and not later.
			f.txn.Settle(before, begin)
			before, begin = begin, f.txn.Mark()
			if err := f.txn.Err(); err != nil {
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
		old, err := f.w.ReadBlock(ctx, blk)
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
