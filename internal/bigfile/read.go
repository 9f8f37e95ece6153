package bigfile

import (
	"context"
	"fmt"
	"os"
	"time"
)

// PageCache is the kernel's page cache of one file.
type PageCache interface {
	// Store puts data at offset off, which must be page-aligned as well as
	// its end. It blocks while a READ of one of the pages is unanswered.
	Store(off int64, data []byte) error
}

// fillWait bounds how long a READ waits for the store of the rest of its
// block. Waiting saves the reader a READ per page; waiting without a bound
// would hang as soon as two READs of one block wait for each other's pages.
const fillWait = 3 * time.Millisecond

// Read answers a READ of [off, off+n): it loads the touched blocks in parallel
// and returns the asked part of them. The range must lie inside the file.
//
// The first READ of a block that asks for a part only also puts the rest into
// the page cache, from a goroutine of the Loader. Nobody else waits for that.
func (l *Loads) Read(ctx context.Context, cache PageCache, off int64, n int, blksize int64) (*Reply, error) {
	extents := Extents(off, n, blksize)
	loads := make([]*Load, len(extents))
	first := make([]bool, len(extents))
	for i, e := range extents {
		loads[i], first[i] = l.Acquire(e.Blk)
	}
	reply := &Reply{}
	var fills []*Fill
	for i, e := range extents {
		block, err := loads[i].Wait(ctx)
		if err != nil {
			for _, ld := range loads[i:] {
				ld.Release()
			}
			reply.Release()
			return nil, fmt.Errorf("readblk #%d: %w", e.Blk, err)
		}
		if first[i] {
			if fill := NewFill(loads[i], block, e, blksize); fill != nil {
				fills = append(fills, fill)
			}
		}
		reply.add(loads[i], block.Data, e)
	}
	l.fill(cache, fills)
	reply.flatten()
	return reply, nil
}

// fill stores the rests and waits for that a little.
func (l *Loads) fill(cache PageCache, fills []*Fill) {
	if len(fills) == 0 {
		return
	}
	done := make(chan struct{})
	l.loader.Go(func() {
		defer close(done)
		for _, f := range fills {
			f.Store(cache)
		}
	})
	timer := time.NewTimer(fillWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// Fill is the rest of a block around the part that a READ asked for.
type Fill struct {
	ld      *Load
	data    []byte
	start   int64 // of the block in the file
	e       Extent
	blksize int64
}

// NewFill returns the rest of the block of ld around e, or nil if there is
// none or it has no whole pages. It adds a user to ld; Store drops it.
func NewFill(ld *Load, block *Block, e Extent, blksize int64) *Fill {
	page := int64(os.Getpagesize())
	start := e.Blk * blksize
	whole := e.From == 0 && e.To == blksize
	if whole || (start|blksize|e.From|e.To)%page != 0 {
		return nil
	}
	return &Fill{ld: ld.Retain(), data: block.Data, start: start, e: e, blksize: blksize}
}

// Store puts the rest into the page cache and drops the block. What cannot be
// stored is only slower to read: the kernel asks again.
func (f *Fill) Store(cache PageCache) {
	defer f.ld.Release()
	if f.storeRange(cache, 0, f.e.From) == nil {
		_ = f.storeRange(cache, f.e.To, f.blksize)
	}
}

// storeRange stores [from, to) of the block. The page in which the data ends
// and zeros begin is put together, since only whole pages can be stored.
func (f *Fill) storeRange(cache PageCache, from, to int64) error {
	page := int64(os.Getpagesize())
	whole := int64(len(f.data)) / page * page
	if from < min(to, whole) {
		end := min(to, whole)
		if err := cache.Store(f.start+from, f.data[from:end]); err != nil {
			return err
		}
		from = end
	}
	if from < to && from < int64(len(f.data)) {
		mixed := make([]byte, page)
		copy(mixed, f.data[from:])
		if err := cache.Store(f.start+from, mixed); err != nil {
			return err
		}
		from += page
	}
	for from < to {
		n := min(to-from, int64(len(zeros)))
		if err := cache.Store(f.start+from, zeros[:n]); err != nil {
			return err
		}
		from += n
	}
	return nil
}
