package bigfile

import (
	"bytes"
	"context"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// chunkLen is the size of the chunks that are written. Chunks that are read may
// have any.
const chunkLen = 4096

// putChunks writes data to the ZBlk1 zblk. state is zero if the object is new.
//
// Chunks that are the same are left alone. If any is not, then the ZBlk1 is
// stored as well: everybody learns about changes of blocks from that.
func (w *Writer) putChunks(ctx context.Context, zblk zodb.Oid, state blockState, data []byte) error {
	isNew := !state.chunked
	var table *btree.Editor
	var have map[int64]btree.Ref
	var err error
	changed := false
	if isNew {
		table = btree.NewTree(w.txn, btree.IO)
	} else {
		if table, err = btree.Edit(w.txn, btree.IO, state.chunks); err != nil {
			return err
		}
		if have, changed, err = w.oldChunks(ctx, table); err != nil {
			return err
		}
	}
	offsets := offsetsOf(have, len(data))
	for _, off := range offsets {
		var piece []byte
		if off < int64(len(data)) {
			piece = trim(data[off:min(off+chunkLen, int64(len(data)))])
		}
		did, err := w.putChunk(table, off, have, piece)
		if err != nil {
			return err
		}
		changed = changed || did
	}
	table.Flush()
	if changed || isNew {
		w.txn.Store(zblk, encodeZBlk1(table.Oid()))
	}
	return nil
}

// oldChunks returns the chunks of a table. If one of them is not as chunks are
// written today, it clears the table and returns none.
func (w *Writer) oldChunks(ctx context.Context, table *btree.Editor) (_ map[int64]btree.Ref, cleared bool, err error) {
	chunks := make(map[int64]btree.Ref)
	odd := false
	err = table.Items(func(off int64, ref btree.Ref) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunks[off] = ref
		if off < 0 || off%chunkLen != 0 {
			odd = true
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	for _, ref := range chunks {
		if odd {
			break
		}
		data, err := w.chunkData(ref.Oid)
		if err != nil {
			return nil, false, err
		}
		odd = len(data) > chunkLen
	}
	if odd {
		table.Clear()
		return nil, true, nil
	}
	return chunks, false, nil
}

// offsetsOf returns where chunks are or come, ascending.
func offsetsOf(have map[int64]btree.Ref, size int) []int64 {
	var offsets []int64
	for off := range have {
		offsets = append(offsets, off)
	}
	for off := 0; off < size; off += chunkLen {
		if _, ok := have[int64(off)]; !ok {
			offsets = append(offsets, int64(off))
		}
	}
	slices.Sort(offsets)
	return offsets
}

// putChunk makes piece, which has no zeros at its end, the chunk at off, and
// reports whether anything changed. No chunk stands for zeros.
func (w *Writer) putChunk(table *btree.Editor, off int64, have map[int64]btree.Ref, piece []byte) (changed bool, err error) {
	old, exists := have[off]
	switch {
	case !exists && len(piece) == 0:
		return false, nil
	case !exists:
		ref := btree.Ref{Oid: w.txn.New(), Class: record.ZData}
		w.txn.Store(ref.Oid, encodeBytes(record.ZData, piece))
		return true, table.Set(off, ref)
	case len(piece) == 0:
		_, err := table.Delete(off)
		return true, err
	}
	data, err := w.chunkData(old.Oid)
	if err != nil || bytes.Equal(trim(data), piece) {
		return false, err
	}
	w.txn.Store(old.Oid, encodeBytes(record.ZData, piece))
	return true, nil
}

func (w *Writer) chunkData(oid zodb.Oid) ([]byte, error) {
	rec, serial, err := w.txn.Load(oid)
	if err != nil {
		return nil, err
	}
	data, err := decodeChunk(rec)
	if err != nil {
		return nil, &storage.CorruptError{Oid: oid, Tid: serial, Err: err}
	}
	return data, nil
}

func encodeZBlk1(table zodb.Oid) []byte {
	var e record.Encoder
	e.Reset(record.ZBlk1)
	e.Ref(table, record.IOBTree)
	return e.Record()
}
