package postgresql

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Dial returns what connects to the first server of cfg that will do.
//
// Its errors are those of its context, or a *storage.OpenError that says of each server
// what is wrong: fault.Unreachable if it may help to try again later.
func Dial(cfg Config) remote.Dial {
	d := &dialer{cfg: cfg}
	return func(ctx context.Context, commits remote.Commits) (remote.Session, zodb.Tid, error) {
		tell := func(tid zodb.Tid, oids []zodb.Oid) {
			d.learn(tid)
			commits(tid, oids)
		}
		s, last, err := d.dial(ctx, tell)
		if err != nil {
			return nil, 0, err
		}
		return s, last, nil
	}
}

// dialer knows how far the database had got.
type dialer struct {
	cfg Config

	mu     sync.Mutex
	newest zodb.Tid // guarded by mu; that was told
}

func (d *dialer) learn(tid zodb.Tid) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.newest = max(d.newest, tid)
}

func (d *dialer) known() zodb.Tid {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newest
}

// dial tries the servers in their order, and then those again that would only do if there
// is no better one, as with target_session_attrs=prefer-standby.
func (d *dialer) dial(ctx context.Context, tell remote.Commits) (*session, zodb.Tid, error) {
	var failed []*storage.OpenError
	var second []candidate
	for _, c := range d.cfg.candidates {
		s, last, err := d.try(ctx, strict(c), tell)
		if err == nil {
			return s, last, nil
		}
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, 0, ctxErr
		}
		var not *notPreferredError
		if errors.As(err, &not) {
			second = append(second, c)
		}
		failed = append(failed, err)
	}
	for _, c := range second {
		c.config = c.config.Copy()
		c.config.ValidateConnect = nil
		s, last, err := d.try(ctx, c, tell)
		if err == nil {
			return s, last, nil
		}
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, 0, ctxErr
		}
		failed = append(failed, err)
	}
	return nil, 0, link.Merge(failed, d.cfg.URL())
}

// notPreferredError says that a server would do if there is no better one.
type notPreferredError struct{ error }

// strict returns c without a server that would do only if there is no better one, which
// package pgconn would take when it knows of no other.
func strict(c candidate) candidate {
	validate := c.config.ValidateConnect
	if validate == nil {
		return c
	}
	c.config = c.config.Copy()
	c.config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		err := validate(ctx, conn)
		var not *pgconn.NotPreferredError
		if errors.As(err, &not) {
			return &notPreferredError{err}
		}
		return err
	}
	return c
}

// try makes a session with one server.
func (d *dialer) try(ctx context.Context, c candidate, tell remote.Commits) (*session, zodb.Tid, *storage.OpenError) {
	ctx, cancel := context.WithTimeout(ctx, 2*d.cfg.ConnectTimeout) // once to connect, once for what is asked then
	defer cancel()
	sockets := newSockets()
	conn, about, err := connect(ctx, c, sockets)
	if err == nil {
		err = d.accept(about, c)
	}
	if err != nil {
		explained := explain(err, c, d.cfg.ConnectTimeout, sockets)
		sockets.close()
		discard(conn)
		return nil, 0, explained
	}
	sockets.met.Store(true)
	d.learn(about.last)
	return newSession(&d.cfg, c.at(conn.Conn().RemoteAddr()), sockets, conn, about, tell), about.last, nil
}

// accept says whether a server has the database as it should be, and all of it.
func (d *dialer) accept(about *facts, c candidate) error {
	if err := about.check(c); err != nil {
		return err
	}
	if newest := d.known(); about.standby && about.last < newest {
		return link.Wrong(fault.Unreachable, nil,
			fmt.Sprintf("the standby at %s is behind: it ends @%s, and @%s was served", c.addr, about.last, newest),
			"it is used when it has caught up; if it never will, its log says why")
	}
	return nil
}
