package postgresql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// session is the connections to one instance of a server. It implements remote.Session.
type session struct {
	cfg     *Config
	server  candidate // at the address of the follower
	about   *facts
	sockets *sockets
	pool    *pool
	tell    remote.Commits

	ctx     context.Context // ends with the session; its cause is Err
	end     context.CancelCauseFunc
	running sync.WaitGroup // the follower
}

var (
	_ remote.Session = (*session)(nil)
	_ remote.Cluster = (*session)(nil)
)

// newSession takes over the sockets, with the connection for the follower.
func newSession(cfg *Config, server candidate, sockets *sockets, conn *pgconn.PgConn, about *facts, tell remote.Commits) *session {
	s := &session{cfg: cfg, server: server, about: about, sockets: sockets, tell: tell}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	s.pool = newPool(cfg.MaxConns, s.open)
	s.running.Go(func() {
		defer discard(conn)
		s.fail(s.follow(conn, about.last))
	})
	return s
}

// open makes a connection for the pool. What answers must be the instance that the
// follower follows.
func (s *session) open(ctx context.Context) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	server := s.server
	server.config = server.config.Copy()
	server.config.ValidateConnect = nil // the follower knows what it is
	conn, about, err := connect(ctx, server, s.sockets)
	if err == nil && about.began != s.about.began {
		err = fmt.Errorf("another instance answers at %s: it began at %s, and the one before at %s; if a load balancer is there, name the servers themselves", server.addr, about.began, s.about.began)
	}
	if err == nil {
		err = about.check(server)
	}
	if err != nil {
		discard(conn)
		return nil, err
	}
	return conn, nil
}

// fail ends the session.
func (s *session) fail(err error) {
	s.end(err)
	s.sockets.close()
}

// Done implements remote.Session.
func (s *session) Done() <-chan struct{} { return s.ctx.Done() }

// Err implements remote.Session.
func (s *session) Err() error { return context.Cause(s.ctx) }

var errClosed = errors.New("the session was closed")

// Close implements remote.Session.
func (s *session) Close() error {
	s.fail(errClosed)
	s.running.Wait()
	s.pool.conns.Close()
	return nil
}

// Nodes implements remote.Cluster.
func (s *session) Nodes() []storage.Node {
	state := "primary"
	if s.about.standby {
		state = "standby"
	}
	return []storage.Node{{Role: "server", Address: s.server.addr.String(), State: state, Connected: true}}
}

// Last implements remote.Session.
func (s *session) Last(ctx context.Context) (last zodb.Tid, err error) {
	err = s.with(ctx, func(c *pgconn.PgConn) error {
		last, err = lastOf(ctx, c)
		return err
	})
	return last, err
}

const (
	changesAtOnce = 1000

	// patience is how long the follower's statement waits in the server.
	patience = time.Second

	// usualSilence is after which time without an answer a server is taken for gone.
	usualSilence = 25 * time.Second

	// maxCancelled is how many times in a row the follower's statement may be cancelled.
	maxCancelled = 10
)

var errSilent = errors.New("the server does not answer any more")

// follow tells of transactions after told, until the connection breaks, and returns why.
func (s *session) follow(conn *pgconn.PgConn, told zodb.Tid) error {
	for cancelled := 0; ; {
		newest, err := s.changes(conn, told)
		switch {
		case s.ctx.Err() != nil:
			return s.Err()
		case err == nil:
			cancelled = 0
		case conn.IsClosed() || !isPassing(err) || cancelled == maxCancelled:
			return fmt.Errorf("ask for new transactions: %w", err)
		default:
			cancelled++
		}
		told = newest
	}
}

// changes waits for transactions after told, for a while, tells of them, and returns the
// last one that was told.
func (s *session) changes(conn *pgconn.PgConn, told zodb.Tid) (newest zodb.Tid, err error) {
	silence := cmp.Or(s.cfg.silence, usualSilence)
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()

	var batch pgconn.Batch
	batch.ExecParams(waitStatement(told, s.cfg.Poll), nil, nil, nil, nil)
	batch.ExecPrepared(stmtChanges, [][]byte{bigint(uint64(told))}, binaryFormat, binaryFormat)
	results := conn.ExecBatch(ctx, &batch)
	newest = told
	for results.NextResult() {
		for r := results.ResultReader(); r.NextRow() && err == nil; watchdog.Reset(silence) {
			if newest, err = s.tellRow(r.Values(), newest); err != nil {
				cancel(err)
			}
		}
	}
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return newest, err
}

// tellRow tells of a transaction.
func (s *session) tellRow(values [][]byte, told zodb.Tid) (zodb.Tid, error) {
	tid, err := number(values[0])
	if err != nil {
		return told, err
	}
	oids, err := oidsOf(values[1])
	if err != nil {
		return told, err
	}
	s.tell(zodb.Tid(tid), oids)
	return zodb.Tid(tid), nil
}

// waitStatement ends in the server when there is a transaction after told, or after a
// while. The language of its text is plpgsql, where each statement has a new snapshot.
func waitStatement(told zodb.Tid, poll time.Duration) string {
	times := max(1, int(patience/poll))
	return fmt.Sprintf(`DO 'BEGIN FOR i IN 1..%d LOOP
		EXIT WHEN EXISTS (SELECT FROM "transaction" WHERE tid > %d);
		PERFORM pg_sleep(%g);
	END LOOP; END'`, times, uint64(told), poll.Seconds())
}
