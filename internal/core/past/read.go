package past

import (
	"context"
	"fmt"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// loads is the blocks of a file in memory, by block number.
type loads = bigfile.Loads[int64, *bigfile.Block]

// Read answers a READ of up to n bytes from offset off; there is nothing at or
// beyond the end of the file. It loads the touched blocks in parallel. The header of an
// array is read by negative offsets.
//
// The first READ of a block that asks for a part only also puts the rest into
// the page cache, from another goroutine. Nobody else waits for that.
func (f *File) Read(ctx context.Context, cache bigfile.PageCache, off int64, n int) (*bigfile.Reply, error) {
	reply := &bigfile.Reply{}
	if header := f.header.From(off); header != nil {
		header = header[:min(len(header), n)]
		reply.AddBytes(header)
		off, n = off+int64(len(header)), n-len(header)
	}
	if off >= f.size || n <= 0 {
		return reply, nil
	}
	n = int(min(int64(n), f.size-off))
	extents := bigfile.Extents(off, n, f.obj.BlkSize)
	pending := make([]*bigfile.Load[int64, *bigfile.Block], len(extents))
	first := make([]bool, len(extents))
	f.loads.AcquireAll(extents, f.window.Key, pending, first)
	f.ahead.Read(extents, f.window)
	var fills []*bigfile.Fill
	for i, e := range extents {
		block, err := pending[i].Wait(ctx)
		if err != nil {
			for _, ld := range pending[i:] {
				ld.Release()
			}
			release(fills)
			reply.Release()
			return nil, fmt.Errorf("readblk #%d: %w", e.Blk, err)
		}
		if end := bigfile.EndIn(e.Blk, f.obj.BlkSize, f.size); first[i] && bigfile.Fillable(e, f.obj.BlkSize, end) {
			pending[i].Retain()
			fills = append(fills, &bigfile.Fill{Extent: e, Data: block.Data, BlkSize: f.obj.BlkSize, End: end, Owner: pending[i]})
		}
		reply.Add(pending[i], block.Data, e)
	}
	f.view.loader.RunFills(cache, fills, func() {})
	reply.Flatten()
	return reply, nil
}

// release drops fills that are not stored.
func release(fills []*bigfile.Fill) {
	for _, fill := range fills {
		fill.Owner.Release()
	}
}
