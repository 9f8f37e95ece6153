package remote

import (
	"context"
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Writer is a session that commits. There is one transaction at a time, from Begin to
// Finish or Abort. All that concerns the transaction is for one goroutine; loads and
// NewOids are not.
//
// A server keeps what it is sent to itself until it is asked to vote, and drops it when
// the session ends. So whatever goes wrong before Finish, nothing was written.
type Writer interface {
	Session

	// Python2 reports whether the server runs on Python 2.
	Python2() bool

	// NewOids returns some oids that the server gives to nobody else.
	NewOids(ctx context.Context) ([]zodb.Oid, error)

	// Begin begins a transaction.
	Begin(user, description, extension []byte) error

	// Store sends a record. prev is the serial of the revision that it replaces, 0 if
	// the object is new. It waits while the server is behind by more than a bound, and
	// data may be modified afterwards. Vote tells if the server refuses it.
	Store(ctx context.Context, oid zodb.Oid, prev zodb.Tid, data []byte) error

	// Delete sends that an object does not exist from here on.
	Delete(ctx context.Context, oid zodb.Oid, prev zodb.Tid) error

	// Check sends that the newest revision of an object must have that serial.
	Check(ctx context.Context, oid zodb.Oid, serial zodb.Tid) error

	// Vote returns when the server has taken everything, and would only have to make it
	// visible. It waits for transactions of others. Errors: *ConflictError, what the
	// server answers, the error of ctx, or why the session has ended.
	Vote(ctx context.Context) error

	// Finish makes the transaction visible and returns its tid. It goes on for a while
	// when ctx ends. If it fails and sent is true, nobody knows whether it is visible.
	Finish(ctx context.Context) (tid zodb.Tid, sent bool, err error)

	// Abort ends the transaction, if there is one. It does not take long: a server that
	// does not hear of it learns it from the end of the session.
	Abort()

	// Similar returns the tids of all transactions after that one which have that user
	// and that description.
	Similar(ctx context.Context, after zodb.Tid, user, description []byte) ([]zodb.Tid, error)
}

// DialWriter connects once to a server that takes commits. The error is one like those
// of Dial; it wraps ErrReadOnly if the server does not.
type DialWriter func(ctx context.Context) (Writer, error)

// ErrReadOnly says that a server takes no commits.
var ErrReadOnly = errors.New("the server is read-only")

// ConflictError says that somebody has changed what a transaction relies on.
type ConflictError struct {
	Oid zodb.Oid // zodb.InvalidOid if it is not known
	Msg string   // what the server says
}

func (e *ConflictError) Error() string {
	if e.Oid == zodb.InvalidOid {
		return "conflict: " + e.Msg
	}
	return fmt.Sprintf("conflict about object %s: %s", e.Oid, e.Msg)
}
