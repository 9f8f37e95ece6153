package zwrite

import (
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
)

var (
	// ErrClosed is what operations on a closed DB fail with.
	ErrClosed = errors.New("database is closed")

	// ErrDone is what operations on a transaction that was committed or
	// aborted fail with.
	ErrDone = errors.New("transaction is over")

	// ErrBusy is why a DB cannot be closed while there is a transaction.
	ErrBusy = errors.New("a transaction is in progress")

	// ErrForeign says that the file was changed by somebody who does not hold
	// the lock.
	ErrForeign = errors.New("the file was changed by another writer, which ignores the lock")
)

// LockedError says that another process, or another DB of this one, has the
// database open for writing.
type LockedError struct {
	Path string // of the database
	Pid  int    // of the process that has it, 0 if it is not known
	Name string // by which that process has it, if it is another one
}

func (e *LockedError) Error() string {
	text := e.Path + " is locked by another writer"
	if e.Pid != 0 {
		text = fmt.Sprintf("%s, process %d", text, e.Pid)
	}
	if e.Name != "" && e.Name != e.Path {
		text = fmt.Sprintf("%s, as %s", text, e.Name)
	}
	return text
}

// DamageError says that what stands in a data file cannot be right.
type DamageError struct {
	Path string
	Pos  int64 // of the transaction or data record, in bytes
	What string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at position %d: %s", e.Path, e.Pos, e.What)
}

// damaged returns err with the path of the database if it is damage.
func (db *DB) damaged(err error) error {
	var damage *fsformat.DamageError
	if !errors.As(err, &damage) {
		return err
	}
	return &DamageError{Path: db.path, Pos: damage.Pos, What: damage.Record + ": " + damage.What}
}

// ConflictError says that an object is not as it was expected to be.
type ConflictError struct {
	Oid      zodb.Oid // zodb.InvalidOid if a server does not say
	Expected zodb.Tid // serial that Txn.Expect was told, or that was loaded
	Current  zodb.Tid // serial of the newest record, 0 if there is none or it is not known
	Err      error    // what the server says, nil if there is none
}

func (e *ConflictError) Error() string {
	switch {
	case e.Err == nil:
		return fmt.Sprintf("conflict: object %s was changed by transaction %s; expected %s", e.Oid, e.Current, e.Expected)
	case e.Oid == zodb.InvalidOid:
		return "conflict: an object was changed by somebody else meanwhile"
	}
	return fmt.Sprintf("conflict: object %s was changed by somebody else meanwhile", e.Oid)
}

func (e *ConflictError) Unwrap() error { return e.Err }

// LostError says that the connection to a server was lost while nothing was committed
// yet, so that nothing will be.
type LostError struct{ Err error }

func (e *LostError) Error() string {
	return fmt.Sprintf("the connection to the server was lost: %s", e.Err)
}

func (e *LostError) Unwrap() error { return e.Err }

// UncertainError says that a transaction is visible to readers of the file, but
// that the operating system does not confirm that it would survive a crash. Without a
// tid it is not even known whether there is the transaction: a server has not
// confirmed it.
type UncertainError struct {
	Tid zodb.Tid
	Err error
}

func (e *UncertainError) Error() string {
	if e.Tid == 0 {
		return fmt.Sprintf("it is not known whether the transaction was committed: %s; look with wcfs log before you try again", e.Err)
	}
	return fmt.Sprintf("transaction %s is committed, but may be lost in a crash: %s", e.Tid, e.Err)
}

func (e *UncertainError) Unwrap() error { return e.Err }
