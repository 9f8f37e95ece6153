package bigfile

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// maxChunkLoads bounds the chunks of one block that are loaded at a time. It
// hides the latency of a network storage without taking it over.
const maxChunkLoads = 16

// badChunks is what is wrong with the chunks of a ZBlk1 together.
type badChunks struct{ error }

func (b badChunks) Unwrap() error { return b.error }

func badChunkf(format string, args ...any) error {
	return badChunks{fmt.Errorf("invalid data: "+format, args...)}
}

// chunk is one chunk of a ZBlk1.
type chunk struct {
	off  int64
	oid  zodb.Oid
	data []byte       // once loaded
	buf  *storage.Buf // owns data; nil before
}

// loadChunks loads and puts together the chunks of a ZBlk1. The result ends
// with the last chunk; what is between chunks is zero.
func loadChunks(ctx context.Context, loader storage.Loader, table zodb.Oid, at zodb.Tid, blksize int64) (*storage.Buf, error) {
	chunks, err := listChunks(ctx, loader, table, at, blksize)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, c := range chunks {
			if c.buf != nil {
				c.buf.Release()
			}
		}
	}()
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(maxChunkLoads, len(chunks)) {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(chunks)); i = next.Add(1) - 1 {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := chunks[i].load(ctx, loader, at); err != nil {
					return err
				}
				if err := checkChunk(chunks, int(i), blksize); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return join(chunks), nil
}

// chunkTable gives nodes of a chunk table. Unlike elsewhere, a node that does
// not exist is an error: taking it for an empty one would serve zeros.
type chunkTable struct {
	loader storage.Loader
}

func (t chunkTable) Node(ctx context.Context, xid zodb.Xid) (*btree.Node, zodb.Tid, error) {
	n, serial, err := btree.Load(ctx, t.loader, xid)
	if err != nil && storage.IsNoData(err) {
		err = dangling(xid, err)
	}
	return n, serial, err
}

// listChunks returns the chunks in ascending order, not loaded. All offsets are
// within the block, so there are not more of them than bytes in it.
func listChunks(ctx context.Context, loader storage.Loader, table zodb.Oid, at zodb.Tid, blksize int64) (chunks []chunk, err error) {
	err = btree.Items(ctx, chunkTable{loader}, table, at, math.MinInt64, math.MaxInt64, func(off int64, oid zodb.Oid) error {
		switch {
		case off < 0:
			return badChunkf("negative offset %d", off)
		case off > math.MaxInt32:
			return badChunkf("offset %d is too big", off)
		case off > blksize:
			return badChunks{errTooLong(off, blksize)}
		}
		chunks = append(chunks, chunk{off: off, oid: oid})
		return nil
	})
	return chunks, err
}

// load loads the data of c.
func (c *chunk) load(ctx context.Context, loader storage.Loader, at zodb.Tid) error {
	buf, serial, err := loadReferred(ctx, loader, zodb.Xid{At: at, Oid: c.oid})
	if err != nil {
		return fmt.Errorf("load chunk %s: %w", c.oid, err)
	}
	data, err := decodeChunk(buf.Data)
	if err != nil {
		buf.Release()
		return &storage.CorruptError{Oid: c.oid, Tid: serial, Err: err}
	}
	c.data, c.buf = data, buf
	return nil
}

// checkChunk checks that loaded chunk i ends before the next one begins, and
// before the block ends. It looks at no data of other chunks, which may be still
// on their way.
func checkChunk(chunks []chunk, i int, blksize int64) error {
	c := &chunks[i]
	end := c.off + int64(len(c.data))
	switch {
	case i+1 == len(chunks) && end > math.MaxInt32:
		return badChunkf("blklen overflow: chunk at %d has %d bytes", c.off, len(c.data))
	case i+1 == len(chunks) && end > blksize:
		return badChunks{errTooLong(end, blksize)}
	case i+1 < len(chunks) && end > blksize:
		return badChunkf("blkdata overrun: chunk at %d has %d bytes", c.off, len(c.data))
	case i+1 < len(chunks) && end > chunks[i+1].off:
		return badChunkf("chunks overlap: chunk at %d has %d bytes, the next is at %d", c.off, len(c.data), chunks[i+1].off)
	}
	return nil
}

func decodeChunk(data []byte) (payload []byte, err error) {
	err = record.Decode(data, func(class record.Class, state record.Value) (err error) {
		if class != record.ZData {
			return fmt.Errorf("expect ZData; got %.200s", class)
		}
		ok := false
		if payload, ok = state.Bytes(); !ok {
			return fmt.Errorf("expect bytes; got %s", state)
		}
		return nil
	})
	return payload, err
}

// join copies the loaded chunks into one buffer.
func join(chunks []chunk) *storage.Buf {
	size := int64(0)
	if n := len(chunks); n > 0 {
		size = chunks[n-1].off + int64(len(chunks[n-1].data))
	}
	buf := storage.NewBuf(int(size))
	pos := int64(0)
	for _, c := range chunks {
		clear(buf.Data[pos:c.off])
		pos = c.off + int64(copy(buf.Data[c.off:], c.data))
	}
	return buf
}
