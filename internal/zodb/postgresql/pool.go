package postgresql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/puddle/v2"
)

// pool is the connections of a session for loads. A permit stands for a connection that
// may be there.
type pool struct {
	conns   *puddle.Pool[*pgconn.PgConn]
	permits chan struct{}
}

// newPool returns a pool of at most size connections, which open makes.
func newPool(size int, open func(ctx context.Context) (*pgconn.PgConn, error)) *pool {
	conns, err := puddle.NewPool(&puddle.Config[*pgconn.PgConn]{
		Constructor: open, Destructor: discard, MaxSize: int32(size),
	})
	if err != nil {
		panic("BUG: postgresql: " + err.Error()) // the size is wrong
	}
	p := &pool{conns: conns, permits: make(chan struct{}, size)}
	for range size {
		p.permits <- struct{}{}
	}
	return p
}

// discard closes a connection, if there is one, and waits until nothing is left of it.
func discard(conn *pgconn.PgConn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
	<-conn.CleanupDone()
}

// crowded is how long a connection is not tried for again that the server had no room for.
const crowded = time.Second

// with calls f with a connection of the session, once or some times: until it works, or it
// makes no sense to repeat it. The session ends if the server does not let it connect.
func (s *session) with(ctx context.Context, f func(c *pgconn.PgConn) error) error {
	var why error // why it was not done yet
	for attempt := 0; ; {
		if err := s.permit(ctx, why); err != nil {
			return err
		}
		conn, err := s.pool.conns.Acquire(ctx)
		switch {
		case err == nil:
			c := conn.Value()
			err = f(c)
			s.putBack(conn)
			s.pool.permits <- struct{}{}
			if !isPassing(err) || s.ctx.Err() != nil || ctx.Err() != nil {
				return err
			}
			if attempt++; attempt > cap(s.pool.permits) { // as many connections may have been closed meanwhile
				return s.hopeless(c, err)
			}
		case isCrowded(err):
			time.AfterFunc(crowded, func() { s.pool.permits <- struct{}{} })
		case isInterrupted(err) && attempt < cap(s.pool.permits):
			s.pool.permits <- struct{}{}
			attempt++
		default:
			s.pool.permits <- struct{}{}
			if ctx.Err() == nil {
				s.fail(fmt.Errorf("connect: %w", err))
			}
			return err
		}
		why = err
	}
}

// permit waits until one more connection may be used. The error is why, if that is known:
// it says more than that the time is over.
func (s *session) permit(ctx context.Context, why error) error {
	select {
	case <-s.pool.permits:
		return nil
	case <-s.ctx.Done():
		return s.Err()
	case <-ctx.Done():
		if why != nil {
			return why
		}
		return ctx.Err()
	}
}

// putBack gives a connection back, if it can still be used.
func (s *session) putBack(conn *puddle.Resource[*pgconn.PgConn]) {
	if conn.Value().IsClosed() {
		conn.Destroy()
		return
	}
	conn.Release()
}

// hopeless is the error of what was repeated in vain. If it is the connections that break,
// the session is of no use.
func (s *session) hopeless(conn *pgconn.PgConn, err error) error {
	if conn.IsClosed() {
		s.fail(err)
	}
	return err
}

// SQLSTATE codes, by their names in PostgreSQL.
const (
	invalidPassword      = "28P01"
	invalidAuthorization = "28000"
	invalidCatalogName   = "3D000"
	insufficientPriv     = "42501"
	undefinedTable       = "42P01"
	undefinedColumn      = "42703"
	serializationFailure = "40001" // a standby: what is read was removed on the primary
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03"
	tooManyConnections   = "53300"
	queryCanceled        = "57014"
	adminShutdown        = "57P01"
	crashShutdown        = "57P02"
	cannotConnectNow     = "57P03"
	dataCorrupted        = "XX001"
	indexCorrupted       = "XX002"
)

func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// isCrowded reports whether the server had no room for a connection.
func isCrowded(err error) bool { return codeOf(err) == tooManyConnections }

// isInterrupted reports whether somebody has ended or cancelled the connection while it was
// made, and not the server because it ends itself.
func isInterrupted(err error) bool {
	code := codeOf(err)
	return code == adminShutdown || code == queryCanceled
}

// isPassing reports whether a statement may work if it is repeated, maybe on another
// connection. Other answers of the server stay as they are.
func isPassing(err error) bool {
	var tooLong *pgproto3.ExceededMaxBodyLenErr
	var own *answerError
	switch {
	case err == nil, errors.As(err, &tooLong), errors.As(err, &own):
		return false
	}
	switch codeOf(err) {
	case "", serializationFailure, deadlockDetected, lockNotAvailable, queryCanceled, adminShutdown, crashShutdown, cannotConnectNow:
		return true
	}
	return false
}

// answerError says that the server has answered, and what is wrong with that.
type answerError struct{ error }

func (e *answerError) Unwrap() error { return e.error }
