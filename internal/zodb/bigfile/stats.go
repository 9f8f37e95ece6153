package bigfile

import (
	"sync/atomic"
	"time"
)

// Origin is where a request gets a block from.
type Origin int

const (
	FromDatabase Origin = iota // loaded, or found to be a hole
	FromKept                   // what was kept of it when it changed
	FromLoad                   // a load that was under way already
	FromMemory                 // another request has it still
	origins
)

// LoaderStats is what a Loader did since it was made.
type LoaderStats struct {
	Blocks      [origins]uint64 // that requests got, by Origin
	Failed      uint64          // loads that gave an error
	StoreErrors uint64          // rests of blocks that the page cache did not take
}

// loaderCounts is LoaderStats while it grows.
type loaderCounts struct {
	blocks      [origins]atomic.Uint64
	failed      atomic.Uint64
	storeErrors atomic.Uint64
}

// Stats returns current figures. It takes no lock.
func (l *Loader) Stats() LoaderStats {
	s := LoaderStats{Failed: l.counts.failed.Load(), StoreErrors: l.counts.storeErrors.Load()}
	for i := range s.Blocks {
		s.Blocks[i] = l.counts.blocks[i].Load()
	}
	return s
}

// Count notes that a request got a block. The loader of a block says from where
// it came; requests that join a load are counted by Loads.
func (l *Loader) Count(from Origin) { l.counts.blocks[from].Add(1) }

// OnLoad makes the Loader tell how long each load took that gave a block, the
// wait for its turn included. It must be called before the first load.
func (l *Loader) OnLoad(f func(took time.Duration)) { l.onLoad = f }

// ended notes that a load that began at start ended with err.
func (l *Loader) ended(start time.Time, err error) {
	switch {
	case err != nil && l.ctx.Err() == nil:
		l.counts.failed.Add(1)
	case err == nil && l.onLoad != nil:
		l.onLoad(time.Since(start))
	}
}
