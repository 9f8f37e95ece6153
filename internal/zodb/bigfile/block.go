package bigfile

import (
	"bytes"
	"context"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Block is the data of one block. It is made with one reference.
type Block struct {
	// Data is the content without the zeros at its end; it is at most blksize
	// bytes. It must not be modified, and is valid until the last Release.
	Data []byte

	// Serial is the revision of the ZBlk object.
	Serial zodb.Tid

	buf *storage.Buf // nil for a block that owns no buffer
}

// NewBlock returns a block with the content of buf, which it takes over.
func NewBlock(buf *storage.Buf, serial zodb.Tid) *Block {
	return &Block{Data: trim(buf.Data), Serial: serial, buf: buf}
}

// Retain adds a reference and returns b.
func (b *Block) Retain() *Block {
	if b.buf != nil {
		b.buf.Retain()
	}
	return b
}

// Release drops a reference. The caller must not touch Data after it.
func (b *Block) Release() {
	if b.buf != nil {
		b.buf.Release()
	}
}

// LoadBlock loads the data of the ZBlk object zblk as of view at.
//
// Data of a ZBlk0 stays where the storage put it. Chunks of a ZBlk1 are loaded
// together, as far as the loader can, and put together in a new buffer.
//
// Errors are those of storage.Loader, and *storage.CorruptError for the object
// that cannot be right: zblk, one of its chunks, or a node of its chunk table.
// An object that does not exist is one of these, since something refers to it.
func LoadBlock(ctx context.Context, loader storage.Loader, zblk zodb.Oid, at zodb.Tid, blksize int64) (*Block, error) {
	p := Place{ZBlk: zblk, At: at, BlkSize: blksize}
	return p.Load(ctx, loader)
}

// referred is what a load gave of an object that another one refers to at the same view.
func referred(xid zodb.Xid, got storage.Loaded) storage.Loaded {
	if got.Err != nil && storage.IsNoData(got.Err) {
		got.Err = dangling(xid, got.Err)
	}
	return got
}

// dangling is what is wrong when a referred object does not exist. Unlike the
// error of the storage it is no IsNoData: nobody asked for an object by name.
func dangling(xid zodb.Xid, err error) error {
	return &storage.CorruptError{Oid: xid.Oid, Tid: xid.At, Err: fmt.Errorf("it is referred to and does not exist: %s", err)}
}

// blockState is the state of a ZBlk object.
type blockState struct {
	chunked bool
	data    []byte   // if not chunked; a slice of the record if possible
	chunks  zodb.Oid // if chunked: IOBTree offset -> ZData
}

func decodeBlock(data []byte) (block blockState, err error) {
	err = record.Decode(data, func(class record.Class, state record.Value) error {
		ok := false
		switch class {
		case record.ZBlk0, record.ZBlk:
			if block.data, ok = state.Bytes(); !ok {
				return fmt.Errorf("expect bytes; got %s", state)
			}
		case record.ZBlk1:
			block.chunked = true
			if block.chunks, ok = state.Ref(); !ok || !refersTo(state, record.IOBTree) {
				return fmt.Errorf("expect IOBTree; got %s", state)
			}
		default:
			return fmt.Errorf("expect ZBlk0 or ZBlk1; got %.200s", class)
		}
		return nil
	})
	return block, err
}

// trim cuts off zeros at the end.
func trim(data []byte) []byte { return bytes.TrimRight(data, "\x00") }

func errTooLong(size, blksize int64) error {
	return fmt.Errorf("invalid blk: size = %d (> blksize = %d)", size, blksize)
}
