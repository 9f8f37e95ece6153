package bigfile

import (
	"context"
	"slices"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// togetherBytes bounds the blocks whose objects are loaded with one question to the database,
// in bytes. A question saves the others a way to the server and back. But the blocks come one
// after the other then, and all are there with the last: large blocks, which several
// connections can bring at a time, take longer that way than the ways that are saved.
const togetherBytes = 1 << 20

// Begun is a block after the first step of its load: Value or Err is the outcome, unless
// there is a Rest, whose outcome is.
type Begun[V any] struct {
	Value V
	Err   error
	Rest  func(ctx context.Context) (V, error)
}

// Then returns b with f applied to the value that comes out.
func Then[A, B any](b Begun[A], f func(A) B) Begun[B] {
	switch {
	case b.Rest != nil:
		return Begun[B]{Rest: func(ctx context.Context) (value B, err error) {
			a, err := b.Rest(ctx)
			if err == nil {
				value = f(a)
			}
			return value, err
		}}
	case b.Err != nil:
		return Begun[B]{Err: b.Err}
	}
	return Begun[B]{Value: f(b.Value)}
}

// Together has blocks of blksize bytes that are wanted at the same time begun by one call of
// begin, if they are loaded from a storage.ManyLoader and are small enough. It is called
// before the first load.
func (l *Loads[K, V]) Together(loader storage.Loader, blksize int64, begin func(ctx context.Context, keys []K) []Begun[V]) {
	if _, ok := storage.Many(loader); ok {
		l.begin, l.most = begin, int(min(togetherBytes/blksize, storage.MaxMany))
	}
}

// AcquireAll acquires the blocks of extents as Acquire does, where lds has none yet.
func (l *Loads[K, V]) AcquireAll(extents []Extent, key func(blk int64) K, lds []*Load[K, V], first []bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*Load[K, V] // to run
	for i, e := range extents {
		if lds[i] != nil {
			continue
		}
		ld, fresh := l.acquire(key(e.Blk))
		if fresh {
			all = append(all, ld)
		}
		lds[i], first[i], ld.asked = ld, !ld.asked, true
	}
	l.run(all)
}

// acquireAhead returns the loads of keys for no request. If one fails, the first request
// tries again.
func (l *Loads[K, V]) acquireAhead(keys []K) []*Load[K, V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	lds := make([]*Load[K, V], len(keys))
	var all []*Load[K, V] // to run
	for i, key := range keys {
		if lds[i] = l.byKey[key]; lds[i] != nil {
			lds[i].users++
			continue
		}
		lds[i] = l.add(key)
		all = append(all, lds[i])
	}
	l.run(all)
	return lds
}

// run runs loads, as many together as may be.
func (l *Loads[K, V]) run(lds []*Load[K, V]) {
	for group := range slices.Chunk(lds, max(l.most, 1)) {
		if len(group) == 1 {
			l.loader.Go(group[0].run)
			continue
		}
		l.loader.Go(func() { l.runTogether(group) })
	}
}

// runTogether runs the first step of loads in one turn. The rest of each has a turn of its
// own, so that chunks of many blocks are loaded at a time, and not of too many.
func (l *Loads[K, V]) runTogether(group []*Load[K, V]) {
	start := time.Now()
	var none V
	if err := l.loader.enter(); err != nil {
		for _, ld := range group {
			ld.end(start, none, err)
		}
		return
	}
	keys := make([]K, len(group))
	for i, ld := range group {
		keys[i] = ld.Key
	}
	begun := l.begin(l.loader.ctx, keys)
	l.loader.leave()
	for i, ld := range group {
		if rest := begun[i].Rest; rest != nil {
			l.loader.Go(func() { ld.runAs(start, rest) })
			continue
		}
		ld.end(start, begun[i].Value, begun[i].Err)
	}
}
