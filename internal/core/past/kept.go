package past

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// keptStore is what of Kept is in the page cache of a file.
type keptStore struct {
	mu    sync.Mutex
	done  chan struct{} // closed when the store under way is done; nil: there is none
	again bool          // somebody asked for one more meanwhile
	seq   uint64        // stored up to here; of the store under way
}

// StoreKept puts what is kept of the file, and came up since the last time, into
// its page cache. Clients map a block from the view that is its revision, so only
// blocks with just this revision are stored; others are there to be read.
//
// StoreKept waits for that, but not longer than patience: the kernel blocks a store
// while a READ of the page is unanswered. The rest is stored later, until ctx ends.
func (f *File) StoreKept(ctx context.Context, cache bigfile.PageCache, patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-f.startStore(ctx, cache):
	case <-timer.C:
	case <-ctx.Done():
	}
}

// startStore starts a store in a goroutine of the bigfile.Loader, and returns what
// is closed when it is done. There is one at a time: who comes meanwhile makes it
// look once more.
func (f *File) startStore(ctx context.Context, cache bigfile.PageCache) <-chan struct{} {
	s := &f.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		s.again = true
		return s.done
	}
	done := make(chan struct{})
	s.done = done
	f.view.loader.Go(func() {
		defer close(done)
		f.storeAllKept(ctx, cache)
		for s.goOn(ctx) {
			f.storeAllKept(ctx, cache)
		}
	})
	return done
}

// goOn reports whether to look once more, and otherwise ends the store.
func (s *keptStore) goOn(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again && ctx.Err() == nil {
		s.again = false
		return true
	}
	s.done, s.again = nil, false
	return false
}

// storeAllKept stores block by block. A block that is not stored is read from
// memory, or from the database.
func (f *File) storeAllKept(ctx context.Context, cache bigfile.PageCache) {
	blksize := f.obj.BlkSize
	if blksize%int64(os.Getpagesize()) != 0 {
		return // only whole pages can be stored
	}
	_ = f.view.kept.Settle(ctx, f.oid, f.view.at)
	for ctx.Err() == nil {
		blk, buf, next := f.view.kept.Next(f.oid, f.view.at, f.store.seq)
		if buf == nil {
			return
		}
		var err error
		if (blk+1)*blksize <= f.size {
			err = bigfile.StoreBlock(cache, blk*blksize, buf.Data, 0, blksize)
		}
		buf.Release()
		if err != nil {
			return
		}
		f.store.seq = next
	}
}
