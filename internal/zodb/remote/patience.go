package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// maxLost is how many sessions may end under one call. Its question may be what ends
// them, and then nobody else would get an answer.
const maxLost = 5

// errLost is what a call fails with whose session has ended.
var errLost = errors.New("the connection was lost")

// patience is how long a call waits.
type patience struct {
	began time.Time
	lost  int // sessions that ended under it
}

func (s *Storage) newPatience() *patience { return &patience{began: time.Now()} }

// call calls f with one conn after the other, until f ends with one that does not end.
func (s *Storage) call(ctx context.Context, p *patience, f func(c *conn) error) error {
	for {
		c, err := s.connected(ctx, p.began)
		if err != nil {
			return err
		}
		err = f(c)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !c.lost():
			return err
		}
		if p.lost++; p.lost >= maxLost {
			return s.exhausted(p, err)
		}
	}
}

// exhausted is the error of a call under which too many sessions have ended.
func (s *Storage) exhausted(p *patience, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if final := s.usable(); final != nil {
		return final
	}
	return &storage.AwayError{Since: p.began, Err: fmt.Errorf("the connection was lost %d times on the way: %w", p.lost, err)}
}

// connected waits for a conn that can be used, as long as a call waits that began then.
func (s *Storage) connected(ctx context.Context, began time.Time) (*conn, error) {
	for {
		s.mu.Lock()
		c, changed, since, why, err := s.conn, s.wait(), s.lostAt, s.reach.Err, s.usable()
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if c != nil && !c.lost() {
			return c, nil
		}
		if c != nil { // the supervisor is about to notice
			since, why = time.Now(), errLost
		}
		from := since
		if began.After(from) {
			from = began
		}
		timer := time.NewTimer(time.Until(from.Add(s.cfg.Timeout)))
		select {
		case <-changed:
		case <-timer.C:
			return nil, &storage.AwayError{Since: since, Err: why}
		case <-ctx.Done():
			err = ctx.Err()
		}
		timer.Stop()
		if err != nil {
			return nil, err
		}
	}
}

// answered calls f, which asks a server, and waits for it for a limited time only. A
// session may know more about why there is no answer than that there is none.
func (s *Storage) answered(ctx context.Context, f func(ctx context.Context) error) error {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	err := f(limited)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("it does not answer within %s", s.cfg.Timeout)
		}
		return &storage.AwayError{Since: began, Err: err}
	}
	return err
}
