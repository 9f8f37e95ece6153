package live

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	evictRange   = 64 // neighbouring blocks that are dropped together
	evictSamples = 5  // ranges of which the coldest is dropped

	minSweep = 4096 // registered nodes of a file that nobody cares about
)

// evictor keeps the number of served blocks within its bound: beyond it, the
// coldest of some ranges of blocks is dropped from the page cache, and then
// from what is served. The kernel may have dropped it long ago without telling.
type evictor struct {
	head   *Head
	start  time.Time
	wake   chan struct{}
	wg     sync.WaitGroup
	served atomic.Int64 // estimate: blocks served since the last count
}

func newEvictor(h *Head) *evictor {
	e := &evictor{head: h, start: time.Now(), wake: make(chan struct{}, 1)}
	e.wg.Go(e.run)
	return e
}

func (e *evictor) wait() { e.wg.Wait() }

// now is the clock of Touch, in seconds.
func (e *evictor) now() uint32 { return uint32(time.Since(e.start) / time.Second) }

// check wakes the evictor now and then.
func (e *evictor) check() {
	if e.served.Add(1)%evictRange == 0 {
		e.poke()
	}
}

// poke makes the evictor look whether there is something to do.
func (e *evictor) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *evictor) run() {
	for {
		select {
		case <-e.head.ctx.Done():
			return
		case <-e.wake:
		}
		for e.head.Served() > e.head.cfg.MaxServed && e.evictOnce() {
		}
		e.sweep()
	}
}

// sweep lets go of nodes that nothing served depends on any more, in files that
// have many more than they had after the last time.
func (e *evictor) sweep() {
	for _, f := range e.head.list() {
		now, left := f.registrations()
		if now < 2*left+minSweep {
			continue
		}
		if _, err := f.sweep(e.head.ctx); err != nil && e.head.ctx.Err() == nil {
			e.head.cfg.Observer.Warnf("%s", err) // it only takes memory
		}
	}
}

// Served returns how many blocks the page cache may have.
func (h *Head) Served() (n int) {
	for _, f := range h.list() {
		f.mu.Lock()
		n += f.served().Len()
		f.mu.Unlock()
	}
	return n
}

// list returns the files.
func (h *Head) list() (files []*File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.files {
		files = append(files, f)
	}
	return files
}

// evictOnce drops the coldest of some ranges. It returns false if there is
// nothing that can be dropped now.
func (e *evictor) evictOnce() bool {
	var coldest *File
	var blks []int64
	var used uint32
	for range evictSamples {
		f, sample, at := e.sample()
		if len(sample) > 0 && (coldest == nil || at < used) {
			coldest, blks, used = f, sample, at
		}
	}
	dropped := false
	for _, blk := range blks {
		dropped = coldest.evict(blk) || dropped
	}
	return dropped
}

// sample returns a random range of served blocks, and when it was read last.
func (e *evictor) sample() (f *File, blks []int64, used uint32) {
	files := e.head.list()
	total := e.head.Served()
	if total == 0 {
		return nil, nil, 0
	}
	i := rand.IntN(total)
	for _, f := range files {
		f.mu.Lock()
		n := f.served().Len()
		if i < n {
			blks, used = f.served().Coldest(i, evictRange)
			f.mu.Unlock()
			return f, blks, used
		}
		f.mu.Unlock()
		i -= n
	}
	return nil, nil, 0
}

// evict drops a block from the page cache and then from what is served, unless
// it is being read or stored, or a READ of it arrives meanwhile: it would be
// served without being known to be. Such a READ stays noted when another call
// drops the block again.
func (f *File) evict(blk int64) bool {
	f.mu.Lock()
	kernel, blksize := f.kernel, f.served().Obj.BlkSize
	s := pages(blk*blksize, (blk+1)*blksize)
	busy := len(f.reads[blk]) > 0 || f.stores[blk] != nil
	if !busy {
		f.leaving[blk] = &s
	}
	f.mu.Unlock()
	if busy {
		return false
	}
	var err error
	if kernel != nil {
		err = kernel.Invalidate(s.lo, s.hi-s.lo)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leaving[blk] != &s {
		return false
	}
	delete(f.leaving, blk)
	if err != nil {
		return false
	}
	f.drop(blk)
	f.head.counts.evicted.Add(1)
	return true
}
