package bigfile

import (
	"os"
	"time"
)

// PageCache is the kernel's page cache of one file.
type PageCache interface {
	// Store puts data at offset off, which must be page-aligned as well as
	// its end. It blocks while a READ of one of the pages is unanswered.
	Store(off int64, data []byte) error
}

// FillWait bounds how long a READ waits for the store of the rest of its
// block. Waiting saves the reader a READ per page; waiting without a bound
// would hang as soon as two READs of one block wait for each other's pages.
const FillWait = 3 * time.Millisecond

// maxFill bounds what is stored for one READ. Of a larger block it is the part, of
// that size and so aligned, that the READ is in.
const maxFill = 32 << 20

// Fill is the rest of a block around the part that a READ asked for.
type Fill struct {
	Extent  Extent // what was asked for
	Data    []byte // of the block; zeros follow
	BlkSize int64
	Owner   Releaser // keeps Data in memory; released by Store
}

// Fillable reports whether a block has a rest around e that can be stored: only
// whole pages can.
func Fillable(e Extent, blksize int64) bool {
	page := int64(os.Getpagesize())
	from, to := fillRange(e, blksize)
	whole := e.From == from && e.To == to
	return !whole && (e.Blk*blksize|blksize|e.From|e.To)%page == 0
}

// Store puts the rest into the page cache. A part that cannot be stored is only
// slower to read: the kernel asks for it.
func (f *Fill) Store(cache PageCache) error {
	defer f.Owner.Release()
	from, to := fillRange(f.Extent, f.BlkSize)
	if err := f.storeRange(cache, from, f.Extent.From); err != nil {
		return err
	}
	return f.storeRange(cache, f.Extent.To, to)
}

// fillRange returns the part of a block that is in the page cache after a READ of e.
func fillRange(e Extent, blksize int64) (from, to int64) {
	return e.From / maxFill * maxFill, min(blksize, (e.To+maxFill-1)/maxFill*maxFill)
}

func (f *Fill) storeRange(cache PageCache, from, to int64) error {
	return StoreBlock(cache, f.Extent.Blk*f.BlkSize, f.Data, from, to)
}

// StoreBlock stores the bytes [from, to) of a block that begins at offset start
// and consists of data and zeros. The page in which the data ends and zeros
// begin is put together, since only whole pages can be stored.
func StoreBlock(cache PageCache, start int64, data []byte, from, to int64) error {
	page := int64(os.Getpagesize())
	if whole := int64(len(data)) / page * page; from < min(to, whole) {
		end := min(to, whole)
		if err := cache.Store(start+from, data[from:end]); err != nil {
			return err
		}
		from = end
	}
	if from < to && from < int64(len(data)) {
		mixed := make([]byte, page)
		copy(mixed, data[from:])
		if err := cache.Store(start+from, mixed); err != nil {
			return err
		}
		from += page
	}
	for from < to {
		n := min(to-from, int64(len(zeros)))
		if err := cache.Store(start+from, zeros[:n]); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// RunFills stores fills in a goroutine of the Loader and waits for that a
// little. stored is called when all of it is done, whenever that is.
func (l *Loader) RunFills(cache PageCache, fills []*Fill, stored func()) {
	if len(fills) == 0 {
		return
	}
	done := make(chan struct{})
	l.Go(func() {
		defer close(done)
		for _, f := range fills {
			if f.Store(cache) != nil {
				l.counts.storeErrors.Add(1)
			}
		}
		stored()
	})
	timer := time.NewTimer(FillWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
