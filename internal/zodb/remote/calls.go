package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Sync implements storage.Storage. A session that ends meanwhile may have told of a
// transaction that the server has lost then: the next one is asked anew.
func (s *Storage) Sync(ctx context.Context) (zodb.Tid, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err := s.call(ctx, s.newPatience(), func(c *conn) error {
		var last zodb.Tid
		err := s.answered(ctx, func(ctx context.Context) (err error) {
			last, err = c.session.Last(ctx)
			return err
		})
		if err != nil {
			return err
		}
		return s.reached(ctx, c, last)
	})
	switch {
	case err == nil:
		return s.Head(), nil
	case s.asItIs(ctx, err):
		return 0, err
	}
	return 0, fmt.Errorf("%s: sync: %w", s.cfg.URL, err)
}

// asItIs reports whether err needs no word about what failed.
func (s *Storage) asItIs(ctx context.Context, err error) bool {
	var down *storage.DownError
	return errors.Is(err, storage.ErrClosed) || errors.As(err, &down) || ctx.Err() != nil && errors.Is(err, ctx.Err())
}

// reached waits until head is at least last, of which c has told.
func (s *Storage) reached(ctx context.Context, c *conn, last zodb.Tid) error {
	for {
		s.mu.Lock()
		head, changed, began := s.head, s.wait(), time.Now()
		s.mu.Unlock()
		if head >= last {
			return nil
		}
		timer := time.NewTimer(s.cfg.Timeout)
		select {
		case <-changed:
			timer.Stop()
			continue
		case <-timer.C:
			if c.toldOf(last) {
				return &storage.AwayError{Since: began, Err: fmt.Errorf("it has not yet told what was changed up to @%s", last)}
			}
			c.end(fmt.Errorf("the server did not tell of transaction @%s, which it has", last))
			return errLost
		case <-c.ctx.Done():
			timer.Stop()
			return errLost
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// Iterate implements storage.Iterator. It goes on with the next session where one ends.
func (s *Storage) Iterate(ctx context.Context, tidMin, tidMax zodb.Tid, f func(*storage.Txn) error) error {
	tidMax = min(tidMax, s.Head())
	if err := s.canLoad(ctx, tidMax); err != nil || tidMin > tidMax {
		return err
	}
	var failed error // what f returned
	p := s.newPatience()
	err := s.call(ctx, p, func(c *conn) error {
		if tidMin > tidMax {
			return nil
		}
		err := c.session.Transactions(ctx, tidMin, tidMax, func(t *storage.Txn) error {
			if t.Tid < tidMin || t.Tid > tidMax {
				return fmt.Errorf("the server told of transaction @%s when it was asked for @%s..@%s", t.Tid, tidMin, tidMax)
			}
			tidMin, p.lost = t.Tid+1, 0
			failed = f(t)
			return failed
		})
		if failed != nil {
			return nil
		}
		return err
	})
	switch {
	case failed != nil:
		return failed
	case err == nil || s.asItIs(ctx, err):
		return err
	}
	return fmt.Errorf("%s: iterate: %w", s.cfg.URL, err)
}
