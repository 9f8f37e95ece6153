package storage

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

const (
	// MaxMany bounds the objects of one call of a ManyLoader, since all their records
	// are in memory at once.
	MaxMany = 1024

	// maxLoads bounds the loads that take the place of a LoadMany at a time. They hide
	// the latency of a network without taking it over.
	maxLoads = 16
)

// Loaded is the answer to one load. A Buf, if there is one, belongs to whoever gets the answer.
type Loaded struct {
	Buf    *Buf
	Serial zodb.Tid
	Err    error
}

// ManyLoader is implemented by loaders that load several objects with one question to the
// database. Callers ask by the functions LoadMany and LoadEach, which work with any loader.
type ManyLoader interface {
	// LoadMany loads up to MaxMany objects. The answers are in the order of xids, one
	// for each, and each is what Load would give: a failure is that of one object. Views
	// may differ, and an object may be there twice. The caller bounds the bytes by what
	// it asks for. A driver may take several questions to the database.
	LoadMany(ctx context.Context, xids []zodb.Xid) []Loaded
}

// Many returns l as a ManyLoader if it is one. A loader that has LoadMany whatever it is made
// of tells by a method LoadsMany whether its parts can do that.
func Many(l Loader) (many ManyLoader, ok bool) {
	if l, may := l.(interface{ LoadsMany() bool }); may && !l.LoadsMany() {
		return nil, false
	}
	many, ok = l.(ManyLoader)
	return many, ok
}

// LoadMany loads any number of objects: with few questions if l is a ManyLoader, else by
// several loads at a time. The answers are like those of ManyLoader.LoadMany.
func LoadMany(ctx context.Context, l Loader, xids []zodb.Xid) []Loaded {
	all := make([]Loaded, len(xids))
	err := LoadEach(ctx, l, xids, func(i int, got Loaded) error {
		all[i] = got
		return nil
	})
	for i := range all {
		if err != nil && all[i] == (Loaded{}) { // nobody has asked for it any more
			all[i].Err = err
		}
	}
	return all
}

// LoadEach is LoadMany that hands over each answer when it is there: take is called with the
// index of an xid and its answer, which take owns, from several goroutines at a time. The first
// error of take, or that of ctx, ends it and is returned. No other loads begin then, and those
// under way are cancelled.
func LoadEach(ctx context.Context, l Loader, xids []zodb.Xid, take func(i int, got Loaded) error) error {
	switch many, ok := Many(l); {
	case len(xids) == 1:
		return take(0, load(ctx, l, xids[0]))
	case ok:
		return loadTogether(ctx, many, xids, take)
	}
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(maxLoads, len(xids)) {
		group.Go(func() error {
			for i := int(next.Add(1)) - 1; i < len(xids); i = int(next.Add(1)) - 1 {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := take(i, load(ctx, l, xids[i])); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func load(ctx context.Context, l Loader, xid zodb.Xid) Loaded {
	buf, serial, err := l.Load(ctx, xid)
	return Loaded{buf, serial, err}
}

// loadTogether is LoadEach for a ManyLoader. Buffers that take has no use for are released.
func loadTogether(ctx context.Context, many ManyLoader, xids []zodb.Xid, take func(i int, got Loaded) error) error {
	for first := 0; first < len(xids); first += MaxMany {
		if err := ctx.Err(); err != nil {
			return err
		}
		var failed error
		for i, got := range many.LoadMany(ctx, xids[first:min(first+MaxMany, len(xids))]) {
			switch {
			case failed == nil:
				failed = take(first+i, got)
			case got.Buf != nil:
				got.Buf.Release()
			}
		}
		if failed != nil {
			return failed
		}
	}
	return nil
}
