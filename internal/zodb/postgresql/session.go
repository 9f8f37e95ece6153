package postgresql

import (
	"context"
	"errors"
	"fmt"
	"sync"

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
		s.fail(newFollower(s, conn).run())
	})
	return s
}

// open makes a connection for the pool. The server must be the instance that the
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
