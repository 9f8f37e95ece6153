package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// conn is a session with the commits that it told of.
type conn struct {
	session Session  // set before anybody but Dial knows the conn
	last    zodb.Tid // what was the newest transaction when it began

	ctx  context.Context // ends when the session is not to be used any more
	end  context.CancelCauseFunc
	wake chan struct{} // holds a token when there may be something for next

	mu      sync.Mutex
	told    zodb.Tid // guarded by mu; newest transaction that the session told of
	waiting []commit // guarded by mu; not yet taken by next
}

// commit is a transaction that a session told of.
type commit struct {
	tid  zodb.Tid
	oids []zodb.Oid
}

func newConn(ctx context.Context) *conn {
	c := &conn{wake: make(chan struct{}, 1)}
	c.ctx, c.end = context.WithCancelCause(ctx)
	return c
}

// commits is the Commits of the session. A session that breaks the order is not to be
// used any more: it may have left something out.
func (c *conn) commits(tid zodb.Tid, oids []zodb.Oid) {
	if c.ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	before := c.told
	right := tid.Valid() && tid > before
	if right {
		c.told = tid
		c.waiting = append(c.waiting, commit{tid, oids})
	}
	c.mu.Unlock()
	if !right {
		c.end(fmt.Errorf("the server told of transaction @%s after @%s", tid, before))
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// next waits for commits and returns all that there are.
func (c *conn) next() ([]commit, error) {
	for {
		if c.ctx.Err() != nil {
			return nil, context.Cause(c.ctx)
		}
		c.mu.Lock()
		commits := c.waiting
		c.waiting = nil
		c.mu.Unlock()
		if len(commits) > 0 {
			return commits, nil
		}
		select {
		case <-c.wake:
		case <-c.ctx.Done():
		}
	}
}

// toldOf reports whether the session is known to know of tid.
func (c *conn) toldOf(tid zodb.Tid) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tid <= max(c.told, c.last)
}

// lost reports whether an error of the session may be because it ended.
func (c *conn) lost() bool {
	select {
	case <-c.session.Done():
		return true
	case <-c.ctx.Done():
		return true
	default:
		return false
	}
}

// watch ends the context of c when the session ends, until c has ended for another
// reason.
func (c *conn) watch() {
	select {
	case <-c.session.Done():
		err := c.session.Err()
		if err == nil {
			err = errors.New("it was closed")
		}
		c.end(err)
	case <-c.ctx.Done():
	}
}
