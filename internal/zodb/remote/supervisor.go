package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	// redialEvery is about how long after an attempt to connect the next one is made.
	redialEvery = time.Second

	// maxRefused is after how many sessions without success it is given up to ask
	// what was missed. One may fail for a reason that passes.
	maxRefused = 3
)

// supervisor is one goroutine, and everything here belongs to it.
type supervisor struct {
	*Storage
	dialed  time.Time // when the last attempt to connect began
	solid   zodb.Tid  // last transaction that is known to have changed anything, or at0
	missed  int       // transactions published in this outage
	refused int       // sessions in a row that lived and could not tell transactions
}

// open returns the first conn. It is called by Open, before there is the goroutine.
func (v *supervisor) open(ctx context.Context) (*conn, error) {
	var deadline time.Time
	for told := false; ; told = true {
		v.dialed = time.Now()
		if deadline.IsZero() {
			deadline = v.dialed.Add(min(v.cfg.Wait, maxWait))
		}
		c, err := v.dial(ctx)
		if !isUnreachable(err) || !time.Now().Before(deadline) {
			return c, err
		}
		if !told {
			v.warn("the server is not there, waiting for it: %s", err)
		}
		if !v.pause(ctx) {
			return nil, err
		}
	}
}

// maxWait keeps sums of times in bounds.
const maxWait = 100 * 365 * 24 * time.Hour

// isUnreachable reports whether it may help to dial again later.
func isUnreachable(err error) bool {
	var openErr *storage.OpenError
	return errors.As(err, &openErr) && openErr.Reason == fault.Unreachable
}

// publish makes transactions visible. They belong to it.
func (v *supervisor) publish(group ...storage.Event) {
	for _, event := range group {
		if len(event.Oids) > 0 {
			v.solid = event.Tid
		}
	}
	v.Storage.publish(group)
}

// run serves c and then what it connects to, until Close or until the storage is down.
func (v *supervisor) run(c *conn) {
	for c != nil && v.serve(c) {
		c = v.reconnect()
	}
}

// serve does all that is to be done with a session and closes it. It reports whether to
// go on with another one.
func (v *supervisor) serve(c *conn) (goOn bool) {
	var watcher sync.WaitGroup
	watcher.Go(c.watch)
	err := v.resume(c)
	if err == nil {
		err = v.deliver(c)
	}
	c.end(err)
	goOn = v.ended(c, err)
	closeErr := c.session.Close()
	watcher.Wait()
	if v.ctx.Err() != nil {
		v.closeErr = closeErr
		return false
	}
	return goOn
}

// ended tells callers and operators that c is not used any more.
func (v *supervisor) ended(c *conn, err error) (goOn bool) {
	var down *storage.DownError
	why := context.Cause(c.ctx) // what came first
	switch {
	case v.ctx.Err() != nil:
		return false
	case errors.As(err, &down), errors.As(why, &down):
		v.giveUp(down)
		return false
	}
	if v.lose(why) {
		v.warn("the connection to the server is lost, trying again until it is back: %s", why)
	}
	return true
}

func (v *supervisor) warn(format string, args ...any) {
	v.cfg.Options.Warn("%s: %s", v.cfg.URL, fmt.Sprintf(format, args...))
}

// down returns an error that ends the storage.
func (v *supervisor) down(err error) error {
	return &storage.DownError{Err: fmt.Errorf("%s: %w", v.cfg.URL, err)}
}

// reconnect returns the next conn, or nil after Close.
func (v *supervisor) reconnect() *conn {
	for v.pause(v.ctx) {
		v.dialed = time.Now()
		// A server that takes the connection and says nothing must not be the
		// end of trying.
		ctx, cancel := context.WithTimeout(v.ctx, v.cfg.Timeout)
		c, err := v.dial(ctx)
		cancel()
		if err == nil {
			return c
		}
		if v.ctx.Err() == nil {
			v.lose(err)
		}
	}
	return nil
}

// pause waits until it is time for another attempt, and reports whether there is to be
// one. Attempts are apart from each other, and not from the end of a session, which may
// come at once.
func (v *supervisor) pause(ctx context.Context) bool {
	// Not all clients of a server that comes back are to come in the same moment.
	every := redialEvery*3/4 + rand.N(redialEvery/2)
	timer := time.NewTimer(time.Until(v.dialed.Add(every)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
