package bigfile

import (
	"bytes"
	"context"

	"github.com/wcfs/wcfs/internal/zodb/btree"
)

// change is what FormatAuto looks at.
type change struct {
	blksize int64
	blk     int64 // number of the block
	last    int64 // highest block number before the change, -1: none
	old     []byte
	new     []byte // both without zeros at their end
}

// appends reports whether the change adds to the end of the file: to its last
// block, or by a new one behind it.
func (c *change) appends() bool {
	return c.blk == c.last && bytes.HasPrefix(c.new, c.old) || c.appendsBlock()
}

func (c *change) appendsBlock() bool { return c.blk == c.last+1 && len(c.old) == 0 }

// small reports whether less than half of the block changes.
func (c *change) small() bool { return int64(differing(c.old, c.new)) < c.blksize/2 }

// format decides. Small appends go to a ZBlk1 until the block is full: then it
// is rewritten as a ZBlk0, which is faster to read. Changes elsewhere are
// written in the way that is smaller now.
func (c *change) format() Format {
	filled := int64(len(c.new)) == c.blksize
	if c.small() && !(c.appends() && filled) {
		return FormatZBlk1
	}
	return FormatZBlk0
}

// differing returns in how many bytes a and b differ; what one is longer than
// the other counts.
func differing(a, b []byte) int {
	if len(a) > len(b) {
		a, b = b, a
	}
	n := len(b) - len(a)
	for i, x := range a {
		if x != b[i] {
			n++
		}
	}
	return n
}

// choose decides in which format block blk is written. When a block is appended
// and this transaction has changed the one before it, that one is full now and
// becomes a ZBlk0. A block that was not changed is left alone: a transaction
// touches only objects of blocks that it modifies.
func (w *Writer) choose(ctx context.Context, blk int64, old btree.Ref, exists bool, data []byte) (Format, error) {
	c := change{blksize: w.file.BlkSize, blk: blk, last: -1, new: data}
	last, ok, err := w.table.MaxKey()
	if err != nil {
		return 0, err
	}
	if ok {
		c.last = last
	}
	if exists {
		if c.old, err = w.content(ctx, old.Oid); err != nil {
			return 0, err
		}
	}
	if c.appendsBlock() && w.written[blk-1] {
		if err := w.convert(ctx, blk-1); err != nil {
			return 0, err
		}
	}
	return c.format(), nil
}

// convert makes block blk a ZBlk0 if it is not.
func (w *Writer) convert(ctx context.Context, blk int64) error {
	old, exists, err := w.table.Get(blk)
	if err != nil || !exists {
		return err
	}
	state, err := w.blockState(old.Oid)
	if err != nil || !state.chunked {
		return err
	}
	data, err := w.content(ctx, old.Oid)
	if err != nil {
		return err
	}
	return w.put(ctx, blk, old, true, data, FormatZBlk0)
}
