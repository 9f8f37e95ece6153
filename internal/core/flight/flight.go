// Package flight runs one call per key, however many callers want its result.
//
// A call is detached from its callers: it runs in a goroutine of its Group
// under the context of the Group, so that a caller who gives up takes nothing
// away from the others. This is what singleflight does not give: there the
// cancellation of the first caller is everybody's error.
//
// A Group owns the goroutines of its calls. Close cancels them and waits.
package flight

import (
	"context"
	"errors"
	"sync"
)

// ErrClosed is the answer of a closed Group.
var ErrClosed = errors.New("server is shutting down")

// Group is a set of calls in flight, by key. Make it with NewGroup.
type Group[K comparable, V any] struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // map operations only
	calls  map[K]*call[V]
	closed bool
}

type call[V any] struct {
	done chan struct{} // closed when val and err are set
	val  V
	err  error
}

// NewGroup returns an empty group whose calls see the values of ctx, but not
// its cancellation.
func NewGroup[K comparable, V any](ctx context.Context) *Group[K, V] {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &Group[K, V]{ctx: ctx, cancel: cancel, calls: make(map[K]*call[V])}
}

// Do returns the result of the call for key that is under way, or starts fn as
// that call. It returns early with the error of ctx when ctx ends first.
func (g *Group[K, V]) Do(ctx context.Context, key K, fn func(context.Context) (V, error)) (V, error) {
	c, err := g.join(key, fn)
	if err != nil {
		var none V
		return none, err
	}
	select {
	case <-c.done:
		return c.val, c.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

func (g *Group[K, V]) join(key K, fn func(context.Context) (V, error)) (*call[V], error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, ErrClosed
	}
	c := g.calls[key]
	if c == nil {
		c = &call[V]{done: make(chan struct{})}
		g.calls[key] = c
		g.wg.Go(func() { g.run(c, key, fn) })
	}
	return c, nil
}

func (g *Group[K, V]) run(c *call[V], key K, fn func(context.Context) (V, error)) {
	c.val, c.err = fn(g.ctx)
	g.mu.Lock()
	delete(g.calls, key)
	g.mu.Unlock()
	close(c.done)
}

// Close cancels the calls under way, waits for them and refuses new ones.
func (g *Group[K, V]) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.wg.Wait()
}
