package storage

import (
	"errors"
	"fmt"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// ErrClosed is what operations on a closed storage fail with.
var ErrClosed = errors.New("storage is closed")

// IsNoData reports whether err says that an object does not exist at a view:
// never created, not yet created, deleted, or packed away. Some databases
// cannot tell these apart, so nobody should.
func IsNoData(err error) bool {
	var noObject *zodb.NoObjectError
	var noData *zodb.NoDataError
	return errors.As(err, &noObject) || errors.As(err, &noData)
}

// FutureViewError refuses a view that is newer than the head.
type FutureViewError struct {
	At, Head zodb.Tid
}

func (e *FutureViewError) Error() string {
	return fmt.Sprintf("view @%s is newer than the head of the database @%s", e.At, e.Head)
}

func (e *FutureViewError) Kind() fault.Kind { return fault.NoView }

// PackedError says that a revision existed and was removed by a pack.
type PackedError struct {
	Xid      zodb.Xid
	PackTime zodb.Tid // views before this one are incomplete
}

func (e *PackedError) Error() string {
	return fmt.Sprintf("object %s @%s was packed away: views before @%s are incomplete", e.Xid.Oid, e.Xid.At, e.PackTime)
}

// HistoryLostError says that the database goes on with transactions after Head, and
// that nobody can tell any more what some of them changed.
type HistoryLostError struct {
	Head zodb.Tid // up to which all transactions are known
	Why  string
}

func (e *HistoryLostError) Error() string {
	return fmt.Sprintf("history was lost: %s, and transactions after @%s may be gone; what was served goes on after a restart", e.Why, e.Head)
}

// WentBackError says that the database lost its last transactions, as it does when a
// backup is restored.
type WentBackError struct {
	Head zodb.Tid // that was served
	Last zodb.Tid // last transaction that is left
}

func (e *WentBackError) Error() string {
	return fmt.Sprintf("the database went back: it ends @%s and has nothing of @%s, which was served; restart to serve what there is now", e.Last, e.Head)
}

// AnotherDatabaseError says that there is another database, or another history of the
// same one, in the place of the one that was served.
type AnotherDatabaseError struct {
	Head zodb.Tid // that was served
	Why  string
}

func (e *AnotherDatabaseError) Error() string {
	return fmt.Sprintf("it is another database than the one that was served up to @%s: %s; restart to serve what there is now", e.Head, e.Why)
}

// CorruptError says that what is stored cannot be right. It concerns one
// object, or the database as a whole when Oid is zodb.InvalidOid.
type CorruptError struct {
	Oid zodb.Oid
	Tid zodb.Tid // revision, or the view that was asked for
	Err error    // what is wrong, with the position where it is known
}

func (e *CorruptError) Error() string {
	if e.Oid == zodb.InvalidOid {
		return fmt.Sprintf("damaged database: %s", e.Err)
	}
	return fmt.Sprintf("damaged record of object %s @%s: %s", e.Oid, e.Tid, e.Err)
}

func (e *CorruptError) Unwrap() error    { return e.Err }
func (e *CorruptError) Kind() fault.Kind { return fault.Damaged }

// AwayError says that the server of a database is not there, or does not answer, and that
// this has lasted for too long to wait for it. The same call may work later.
//
// The cause is not unwrapped: that some attempt to connect ran out of time is not the end
// of the caller's context.
type AwayError struct {
	Since time.Time
	Err   error // why
}

func (e *AwayError) Error() string {
	return fmt.Sprintf("the server of the database has been away since %s (%s); it is tried again all the time, and all goes on by itself when it is back",
		e.Since.Format(time.DateTime), e.Err)
}

// DownError says that the storage failed for good, and why.
type DownError struct {
	Err error
}

func (e *DownError) Error() string { return fmt.Sprintf("storage is down: %s", e.Err) }
func (e *DownError) Unwrap() error { return e.Err }

// OpenError says why a storage could not be opened, in words for the person
// who typed the url: what is wrong and what to do.
type OpenError struct {
	Reason fault.Kind // Unreachable, NotADatabase or BadURL
	URL    string     // as given, without secrets
	Msg    string     // what is wrong
	Hint   string     // what to do, may be empty
	Err    error      // cause, may be nil; not part of the text
}

func (e *OpenError) Error() string {
	text := fmt.Sprintf("open %s: %s", e.URL, e.Msg)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

func (e *OpenError) Unwrap() error    { return e.Err }
func (e *OpenError) Kind() fault.Kind { return e.Reason }
