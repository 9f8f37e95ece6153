package demostorage

import (
	"context"
	"fmt"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Iterate implements storage.Iterator: transactions of the base, then of the delta.
func (s *Storage) Iterate(ctx context.Context, tidMin, tidMax zodb.Tid, f func(*storage.Txn) error) error {
	if s.isClosed() {
		return storage.ErrClosed
	}
	tidMax = min(tidMax, s.Head())
	var failed error // what f returned
	g := func(txn *storage.Txn) error {
		failed = f(txn)
		return failed
	}
	var err error
	if tidMin <= s.frozen {
		err = partError("base", s.base.Iterate(ctx, tidMin, min(tidMax, s.frozen), g))
	}
	if err == nil && tidMax > s.frozen {
		err = partError("delta", s.delta.Iterate(ctx, max(tidMin, s.frozen+1), tidMax, g))
	}
	if failed != nil {
		return failed
	}
	return err
}

// Packs implements storage.Packed. Packs of a base that has gone on concern its
// frozen view only.
func (s *Storage) Packs() (complete, newest zodb.Tid) {
	complete, newest = packs(s.base)
	complete, newest = min(complete, s.frozen), min(newest, s.frozen)
	inDelta, newestInDelta := packs(s.delta)
	return max(complete, inDelta), max(newest, newestInDelta)
}

func packs(p part) (complete, newest zodb.Tid) {
	if p, ok := p.(storage.Packed); ok {
		return p.Packs()
	}
	return 0, 0
}

// Keep implements storage.Packed. The frozen view of the base is always in use.
func (s *Storage) Keep(from zodb.Tid) {
	keep(s.base, min(from, s.frozen))
	keep(s.delta, from)
}

func keep(p part, from zodb.Tid) {
	if p, ok := p.(storage.Packed); ok {
		p.Keep(from)
	}
}

// overServer is a Storage of which a part is behind a server.
type overServer struct{ *Storage }

var _ storage.Reachable = (*overServer)(nil)

// Reach implements storage.Reachable: both parts are needed.
func (s *overServer) Reach() storage.Reach {
	base, delta := reach("base", s.base), reach("delta", s.delta)
	reach := base
	switch {
	case base.Up:
		reach = delta
		reach.Nodes = append(slices.Clip(base.Nodes), delta.Nodes...)
	case !delta.Up:
		reach.Err = fmt.Errorf("%w; %w", base.Err, delta.Err)
		if delta.Since.Before(base.Since) {
			reach.Since = delta.Since
		}
	}
	reach.Reconnects = base.Reconnects + delta.Reconnects
	if at, why := s.failedAt.Load(), s.ended(); reach.Up && at != nil && !s.isClosed() {
		reach = storage.Reach{Since: *at, Err: why}
	}
	return reach
}

func reach(name string, p part) storage.Reach {
	reach := storage.Reach{Up: true}
	if p, ok := p.(storage.Reachable); ok {
		reach = p.Reach()
	}
	if !reach.Up {
		reach.Err = fmt.Errorf("%s: %w", name, reach.Err)
	}
	return reach
}
