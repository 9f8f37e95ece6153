package bigfile

import (
	"slices"
	"sync"
	"time"
)

const (
	// aheadAfter is how many times in a row somebody has gone on to the next block
	// when those that follow are loaded. The first block counts.
	aheadAfter = 2

	// aheadBlocks and aheadBytes bound what is loaded ahead of one reader of a file.
	// One block is loaded even if it is larger, up to aheadLargest.
	aheadBlocks  = 8
	aheadBytes   = 4 << 20
	aheadLargest = 16 << 20

	// aheadRuns bounds the readers of a file that are told apart.
	aheadRuns = 8

	// aheadTotal bounds the bytes that are held ahead of all readers of a Loader.
	aheadTotal = 128 << 20

	// aheadIdle is how long blocks are held for a reader that reads no further.
	aheadIdle = 2 * time.Second
)

// Ahead loads the blocks of one file that sequential readers will want next, into
// memory and not into the page cache: nobody has asked for them yet, so that there
// is nothing that a client would have to pin. A block is loaded while the kernel
// and the reader are busy with the one before.
//
// Its mutex is held for map operations only.
type Ahead[K comparable, V Releaser] struct {
	loads *Loads[K, V]

	mu    sync.Mutex
	runs  []*aheadRun[K, V] // most recently used last
	timer *time.Timer       // of expire; nil: not running
}

// aheadRun is one reader that goes from block to block.
type aheadRun[K comparable, V Releaser] struct {
	next  int64 // block after the last one that was read
	steps int   // READs that went on to another block
	held  map[int64]*Load[K, V]
	used  time.Time
}

// NewAhead returns what loads ahead into loads.
func NewAhead[K comparable, V Releaser](loads *Loads[K, V]) *Ahead[K, V] {
	return &Ahead[K, V]{loads: loads}
}

// Window is what may be loaded ahead: blocks before End, of BlkSize bytes each, under
// the key of now.
type Window[K comparable] struct {
	BlkSize, End int64
	Key          func(blk int64) K
}

// Read notes that the blocks of extents, which are neighbours, are read. Their loads
// are acquired already.
func (a *Ahead[K, V]) Read(extents []Extent, w Window[K]) {
	first, last := extents[0].Blk, extents[len(extents)-1].Blk
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.runOf(first)
	r.used = time.Now()
	if last >= r.next {
		r.steps++
		r.next = last + 1
	}
	a.drop(r, func(b int64, ld *Load[K, V]) bool { return b < r.next || ld.Key != w.Key(b) })
	if r.steps >= aheadAfter {
		a.hold(r, w)
	}
	if a.timer == nil && len(r.held) > 0 {
		a.timer = time.AfterFunc(aheadIdle, a.expire)
	}
}

// depth returns how many blocks of that size are loaded ahead.
func depth(blksize int64) int64 {
	if blksize > aheadLargest {
		return 0
	}
	return min(max(aheadBytes/blksize, 1), aheadBlocks)
}

// runOf returns the run that block blk goes on with, or a new one in place of the one
// that was not used for longest. Requires: a.mu.
func (a *Ahead[K, V]) runOf(blk int64) *aheadRun[K, V] {
	i := slices.IndexFunc(a.runs, func(r *aheadRun[K, V]) bool { return blk == r.next || blk == r.next-1 })
	r := &aheadRun[K, V]{next: blk, held: make(map[int64]*Load[K, V])}
	switch {
	case i >= 0:
		r = a.runs[i]
		a.runs = slices.Delete(a.runs, i, i+1)
	case len(a.runs) == aheadRuns:
		a.dropAll(a.runs[0])
		a.runs = slices.Delete(a.runs, 0, 1)
	}
	a.runs = append(a.runs, r)
	return r
}

// hold loads the blocks that r comes to next, and keeps them for it, as far as there is
// room. Requires: a.mu.
func (a *Ahead[K, V]) hold(r *aheadRun[K, V], w Window[K]) {
	var blks []int64
	var keys []K
	for b := r.next; b < min(r.next+depth(w.BlkSize), w.End); b++ {
		if r.held[b] == nil && a.loads.loader.reserveAhead(w.BlkSize) {
			blks, keys = append(blks, b), append(keys, w.Key(b))
		}
	}
	if len(keys) == 0 {
		return
	}
	for i, ld := range a.loads.acquireAhead(keys) {
		ld.ahead = w.BlkSize
		r.held[blks[i]] = ld
	}
}

// drop lets go of what is held for r as which says. Requires: a.mu.
func (a *Ahead[K, V]) drop(r *aheadRun[K, V], which func(b int64, ld *Load[K, V]) bool) {
	for b, ld := range r.held {
		if which(b, ld) {
			delete(r.held, b)
			a.loads.loader.reserveAhead(-ld.ahead)
			ld.Release()
		}
	}
}

func (a *Ahead[K, V]) dropAll(r *aheadRun[K, V]) {
	a.drop(r, func(int64, *Load[K, V]) bool { return true })
}

// expire lets go of what is held for readers that read no further.
func (a *Ahead[K, V]) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = nil
	held := 0
	for _, r := range a.runs {
		if time.Since(r.used) >= aheadIdle {
			a.dropAll(r)
		}
		held += len(r.held)
	}
	if held > 0 {
		a.timer = time.AfterFunc(aheadIdle, a.expire)
	}
}

// reserveAhead counts bytes that are held ahead. It returns false, and counts
// nothing, if they would be too many. Negative ones are given back.
func (l *Loader) reserveAhead(bytes int64) bool {
	if l.ahead.Add(bytes) > aheadTotal && bytes > 0 {
		l.ahead.Add(-bytes)
		return false
	}
	return true
}
