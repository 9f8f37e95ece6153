package bigfile

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

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
	xids := make([]zodb.Xid, len(chunks))
	for i, c := range chunks {
		xids[i] = zodb.Xid{At: at, Oid: c.oid}
	}
	err = storage.LoadEach(ctx, loader, xids, func(i int, got storage.Loaded) error {
		if err := chunks[i].take(at, got); err != nil {
			return err
		}
		return checkChunk(chunks, i, blksize)
	})
	if err != nil {
		return nil, err
	}
	return join(chunks), nil
}

// chunkTable gives nodes of a chunk table. Unlike elsewhere, a node that does
// not exist is an error: taking it for an empty one would serve zeros.
//
// A walk over all of the table visits all children of a node, so they are loaded together
// when the node was. Damage of a child is told when the walk comes to it.
type chunkTable struct {
	loader storage.Loader
	ahead  map[zodb.Oid]storage.Loaded // not visited yet
	bytes  int                         // loaded ahead in all
}

func (t *chunkTable) Node(ctx context.Context, xid zodb.Xid) (*btree.Node, zodb.Tid, error) {
	got, ok := t.ahead[xid.Oid]
	if ok {
		delete(t.ahead, xid.Oid)
	} else {
		got.Buf, got.Serial, got.Err = t.loader.Load(ctx, xid)
	}
	n, serial, err := btree.NodeIn(xid, got)
	if err != nil && storage.IsNoData(err) {
		err = dangling(xid, err)
	}
	if err == nil && !n.Leaf() {
		t.loadAhead(ctx, xid.At, n.Oids())
	}
	return n, serial, err
}

const (
	// maxNodesAhead bounds the children of a node that are loaded ahead. A sound node of
	// an IOBTree has at most 500.
	maxNodesAhead = 512

	// maxTableAhead bounds their bytes: sound ones have about 20 for each chunk.
	maxTableAhead = 4 << 20
)

var errNoRoom = errors.New("no more is loaded ahead")

// loadAhead loads children of a node. A child for which there is no room is loaded when the
// walk comes to it.
func (t *chunkTable) loadAhead(ctx context.Context, at zodb.Tid, children []zodb.Oid) {
	if len(children) == 1 {
		return
	}
	xids := make([]zodb.Xid, min(len(children), maxNodesAhead))
	for i := range xids {
		xids[i] = zodb.Xid{At: at, Oid: children[i]}
	}
	if t.ahead == nil {
		t.ahead = make(map[zodb.Oid]storage.Loaded, len(xids))
	}
	var mu sync.Mutex
	_ = storage.LoadEach(ctx, t.loader, xids, func(i int, got storage.Loaded) error {
		mu.Lock()
		defer mu.Unlock()
		if got.Buf != nil {
			t.bytes += len(got.Buf.Data)
		}
		if t.bytes > maxTableAhead { // errors of loads that end by this are none of the child
			if got.Buf != nil {
				got.Buf.Release()
			}
			return errNoRoom
		}
		t.ahead[xids[i].Oid] = got
		return nil
	})
}

// listChunks returns the chunks in ascending order, not loaded. All offsets are
// within the block, so there are not more of them than bytes in it.
func listChunks(ctx context.Context, loader storage.Loader, table zodb.Oid, at zodb.Tid, blksize int64) (chunks []chunk, err error) {
	err = btree.Items(ctx, &chunkTable{loader: loader}, table, at, math.MinInt64, math.MaxInt64, func(off int64, oid zodb.Oid) error {
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

// take takes what was loaded of c as of view at.
func (c *chunk) take(at zodb.Tid, got storage.Loaded) error {
	got = referred(zodb.Xid{At: at, Oid: c.oid}, got)
	if got.Err != nil {
		return fmt.Errorf("load chunk %s: %w", c.oid, got.Err)
	}
	data, err := decodeChunk(got.Buf.Data)
	if err != nil {
		got.Buf.Release()
		return &storage.CorruptError{Oid: c.oid, Tid: got.Serial, Err: err}
	}
	c.data, c.buf = data, got.Buf
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
