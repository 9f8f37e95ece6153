package bigfile

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Loader runs the block loads of a server: a bounded number at a time, each in
// a goroutine of the Loader, under the context of the Loader. No load depends
// on the request that was the first to want the block.
type Loader struct {
	ctx   context.Context
	slots chan struct{} // a load holds one while it runs

	// Requests may still come while somebody waits, which a sync.WaitGroup does not bear.
	running atomic.Int64 // goroutines
	mu      sync.Mutex
	idle    *sync.Cond // on mu: running has become 0

	ahead  atomic.Int64 // bytes of blocks that are held ahead of readers
	counts loaderCounts
	onLoad func(took time.Duration) // may be nil
}

// NewLoader returns a Loader that runs at most parallel loads at a time, until
// ctx ends.
func NewLoader(ctx context.Context, parallel int) *Loader {
	l := &Loader{ctx: ctx, slots: make(chan struct{}, parallel)}
	l.idle = sync.NewCond(&l.mu)
	return l
}

// Go runs f in a goroutine of the Loader.
func (l *Loader) Go(f func()) {
	l.running.Add(1)
	go func() {
		defer l.goneOne()
		f()
	}()
}

func (l *Loader) goneOne() {
	if l.running.Add(-1) == 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.idle.Broadcast()
	}
}

// Wait waits until no goroutine of the Loader runs. Those that are begun meanwhile
// count, too.
func (l *Loader) Wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.running.Load() > 0 {
		l.idle.Wait()
	}
}

// Releaser is what takes up memory until it is released.
type Releaser interface{ Release() }

// Loads is the blocks of one file that are in memory: those being loaded, and
// those that a request or a store still needs. Keys say which block it is, and
// of which view if there are several.
//
// However many requests want a block, it is loaded once: the first Acquire
// starts the load, others join it, and the block is dropped with the last
// Release.
type Loads[K comparable, V Releaser] struct {
	loader *Loader
	load   func(ctx context.Context, key K) (V, error)
	begin  func(ctx context.Context, keys []K) []Begun[V] // nil: each is loaded alone
	most   int                                            // keys of one call of begin

	mu    sync.Mutex // map operations and counts only
	byKey map[K]*Load[K, V]
}

// NewLoads returns the loads of a file whose blocks come from load.
func NewLoads[K comparable, V Releaser](loader *Loader, load func(ctx context.Context, key K) (V, error)) *Loads[K, V] {
	return &Loads[K, V]{loader: loader, load: load, byKey: make(map[K]*Load[K, V])}
}

// Load is one block on its way into memory, or in memory.
type Load[K comparable, V Releaser] struct {
	Key   K
	of    *Loads[K, V]
	users int   // guarded by of.mu; the running load is one
	asked bool  // by a request; guarded by of.mu
	ahead int64 // bytes that Ahead counts for it

	done  chan struct{} // closed when value and err are set
	value V
	err   error
}

// Acquire returns the load of key and whether no other request has asked for it. The
// caller must Release it.
func (l *Loads[K, V]) Acquire(key K) (ld *Load[K, V], first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ld, fresh := l.acquire(key)
	if fresh {
		l.loader.Go(ld.run)
	}
	first, ld.asked = !ld.asked, true
	return ld, first
}

// acquire returns the load of key for a request, and whether it has to be run. Requires: l.mu.
func (l *Loads[K, V]) acquire(key K) (ld *Load[K, V], fresh bool) {
	ld = l.byKey[key]
	if ld == nil || !ld.asked && ld.failed() {
		return l.add(key), true
	}
	l.loader.Count(ld.origin())
	ld.users++
	return ld, false
}

// add makes a load with one user, which has to be run. Requires: l.mu.
func (l *Loads[K, V]) add(key K) *Load[K, V] {
	ld := &Load[K, V]{Key: key, of: l, users: 2, done: make(chan struct{})}
	l.byKey[key] = ld
	return ld
}

// failed reports whether the load has ended with an error.
func (ld *Load[K, V]) failed() bool {
	select {
	case <-ld.done:
		return ld.err != nil
	default:
		return false
	}
}

func (ld *Load[K, V]) run() {
	ld.runAs(time.Now(), func(ctx context.Context) (V, error) { return ld.of.load(ctx, ld.Key) })
}

// runAs runs load, of a load that was begun then, when it is its turn.
func (ld *Load[K, V]) runAs(start time.Time, load func(ctx context.Context) (V, error)) {
	loader := ld.of.loader
	var value V
	err := loader.enter()
	if err == nil {
		value, err = load(loader.ctx)
		loader.leave()
	}
	ld.end(start, value, err)
}

// enter waits for the turn of a load, which must leave unless there is an error.
func (l *Loader) enter() error {
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

func (l *Loader) leave() { <-l.slots }

// end gives everybody the outcome of a load that was begun then.
func (ld *Load[K, V]) end(start time.Time, value V, err error) {
	defer ld.Release()
	ld.value, ld.err = value, err
	ld.of.loader.ended(start, err)
	close(ld.done)
}

// origin says where one who joins ld gets the block from.
func (ld *Load[K, V]) origin() Origin {
	select {
	case <-ld.done:
		return FromMemory
	default:
		return FromLoad
	}
}

// Done is closed when the block is there, or could not be loaded.
func (ld *Load[K, V]) Done() <-chan struct{} { return ld.done }

// Wait returns the block, which is valid until Release.
func (ld *Load[K, V]) Wait(ctx context.Context) (value V, err error) {
	select {
	case <-ld.done:
		return ld.value, ld.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

// Retain adds a user.
func (ld *Load[K, V]) Retain() { ld.use(1) }

// Release drops a user. The last one takes the block out of memory.
func (ld *Load[K, V]) Release() {
	if last := ld.use(-1); last && ld.err == nil {
		ld.value.Release()
	}
}

// use counts a user, or one less, and reports whether that was the last one.
func (ld *Load[K, V]) use(n int) (last bool) {
	ld.of.mu.Lock()
	defer ld.of.mu.Unlock()
	if ld.users <= 0 {
		panic("BUG: bigfile.Load: used after the last Release")
	}
	ld.users += n
	last = ld.users == 0
	if last && ld.of.byKey[ld.Key] == ld {
		delete(ld.of.byKey, ld.Key)
	}
	return last
}

// Len returns how many blocks are in memory.
func (l *Loads[K, V]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byKey)
}
