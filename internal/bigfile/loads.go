package bigfile

import (
	"context"
	"sync"
)

// Loader runs the block loads of a server: a bounded number at a time, each in
// a goroutine of the Loader, under the context of the Loader. No load depends
// on the request that was the first to want the block.
type Loader struct {
	ctx   context.Context
	slots chan struct{} // a load holds one while it runs
	wg    sync.WaitGroup
}

// NewLoader returns a Loader that runs at most parallel loads at a time, until
// ctx ends.
func NewLoader(ctx context.Context, parallel int) *Loader {
	return &Loader{ctx: ctx, slots: make(chan struct{}, parallel)}
}

// Go runs f in a goroutine of the Loader.
func (l *Loader) Go(f func()) { l.wg.Go(f) }

// Wait waits until all goroutines of the Loader have ended.
func (l *Loader) Wait() { l.wg.Wait() }

// Loads is the blocks of one file that are in memory: those being loaded, and
// those that a request or a store still needs.
//
// However many requests want a block, it is loaded once: the first Acquire
// starts the load, others join it, and the block is dropped with the last
// Release.
type Loads struct {
	loader *Loader
	load   func(ctx context.Context, blk int64) (*Block, error)

	mu    sync.Mutex // map operations and counts only
	byBlk map[int64]*Load
}

// NewLoads returns the loads of a file whose blocks come from load. A hole is
// a block without data.
func NewLoads(loader *Loader, load func(ctx context.Context, blk int64) (*Block, error)) *Loads {
	return &Loads{loader: loader, load: load, byBlk: make(map[int64]*Load)}
}

// Load is one block on its way into memory, or in memory.
type Load struct {
	of    *Loads
	blk   int64
	users int // guarded by of.mu; the running load is one

	done  chan struct{} // closed when block and err are set
	block *Block
	err   error
}

// Acquire returns the load of block blk and whether this call started it. The
// caller must Release it.
func (l *Loads) Acquire(blk int64) (ld *Load, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ld := l.byBlk[blk]; ld != nil {
		ld.users++
		return ld, false
	}
	ld = &Load{of: l, blk: blk, users: 2, done: make(chan struct{})}
	l.byBlk[blk] = ld
	l.loader.Go(ld.run)
	return ld, true
}

func (ld *Load) run() {
	defer ld.Release()
	defer close(ld.done)
	loader := ld.of.loader
	select {
	case loader.slots <- struct{}{}:
		ld.block, ld.err = ld.of.load(loader.ctx, ld.blk)
		<-loader.slots
	case <-loader.ctx.Done():
		ld.err = loader.ctx.Err()
	}
}

// Wait returns the block, which is valid until Release.
func (ld *Load) Wait(ctx context.Context) (*Block, error) {
	select {
	case <-ld.done:
		return ld.block, ld.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Retain adds a user and returns ld.
func (ld *Load) Retain() *Load {
	ld.of.mu.Lock()
	defer ld.of.mu.Unlock()
	ld.users++
	return ld
}

// Release drops a user. The last one takes the block out of memory.
func (ld *Load) Release() {
	ld.of.mu.Lock()
	ld.users--
	last := ld.users == 0
	if last && ld.of.byBlk[ld.blk] == ld {
		delete(ld.of.byBlk, ld.blk)
	}
	ld.of.mu.Unlock()
	if last && ld.block != nil {
		ld.block.Release()
	}
}
