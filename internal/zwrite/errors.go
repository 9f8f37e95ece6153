package zwrite

import (
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"
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

// ConflictError says that an object is not as it was expected to be.
type ConflictError struct {
	Oid      zodb.Oid
	Expected zodb.Tid // serial that Txn.Expect was told
	Current  zodb.Tid // serial of the newest record, 0 if there is none
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("conflict: object %s was changed by transaction %s; expected %s", e.Oid, e.Current, e.Expected)
}

// UncertainError says that a transaction is visible to readers of the file, but
// that the operating system does not confirm that it would survive a crash.
type UncertainError struct {
	Tid zodb.Tid
	Err error
}

func (e *UncertainError) Error() string {
	return fmt.Sprintf("transaction %s is committed, but may be lost in a crash: %s", e.Tid, e.Err)
}

func (e *UncertainError) Unwrap() error { return e.Err }
