package client

import (
	"errors"
	"fmt"
	"syscall"
)

// Errors of joining, and of everything later when the server goes away.
var (
	// ErrNotRunning says that no server serves the database, or nothing is
	// mounted where it should be. Start one.
	ErrNotRunning = errors.New("no wcfs server is running")

	// ErrForeign says that what is there belongs to another user, whose server
	// answers nobody else, or who need not be trusted, being not root.
	ErrForeign = errors.New("it belongs to another user")

	// ErrCrashed says that the server has ended while its mount was in use.
	// Nothing that belongs to the mount works again; close it and join anew.
	ErrCrashed = errors.New("the wcfs server is gone")
)

// Errors of a Conn.
var (
	// ErrClosed is what a Conn returns after Close, or after a failure that
	// closed it. The error then also wraps that failure.
	ErrClosed = errors.New("connection closed")

	// ErrDown is a failure: the server closed the link of the Conn.
	ErrDown = errors.New("link is down")

	// ErrProtocol is a failure: the server said what cannot be understood.
	ErrProtocol = errors.New("the server broke the protocol")

	// ErrPin is a failure: a block could not be mapped as the server demanded,
	// for instance since the process has too many mappings.
	ErrPin = errors.New("pin not applied")

	// ErrGoingBack refuses to move a Conn to an older view, and closes it.
	ErrGoingBack = errors.New("going back in history is forbidden")

	// ErrTimeout says that the server does not end a link that is closed.
	ErrTimeout = errors.New("the server does not end the link")
)

// Errors of files and mappings.
var (
	// ErrNotBigFile says that there is no ZBigFile with the given oid.
	ErrNotBigFile = errors.New("not a ZBigFile")

	// ErrFileClosed is what a File returns after Close.
	ErrFileClosed = errors.New("file already closed")

	// ErrNotMappable says that blocks are not whole pages, so that they cannot
	// be mapped one by one. ReadAt works.
	ErrNotMappable = errors.New("blocks are not whole pages")

	// ErrBadFile says that the sizes the server reports contradict each other.
	ErrBadFile = errors.New("wcfs bug")

	// ErrUnmapped is what a Mapping returns after Unmap.
	ErrUnmapped = errors.New("already unmapped")
)

// ServerError is what the server answered to a request it did not fulfil.
type ServerError struct {
	Request string // "watch" or "unwatch"
	Text    string // at most 246 bytes
}

func (e *ServerError) Error() string { return e.Request + ": " + e.Text }

// FaultError says that mapped memory could not be accessed: the mapping was
// closed, or the server could not deliver the data.
type FaultError struct {
	Off   int64 // of the access, in bytes from the beginning of the mapping
	Cause error // why the mapping does not work any more; nil if it does
}

func (e *FaultError) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("fault at offset %d of the mapping", e.Off)
	}
	return fmt.Sprintf("fault at offset %d of the mapping: %s", e.Off, e.Cause)
}

// Unwrap returns the cause.
func (e *FaultError) Unwrap() error { return e.Cause }

// failed gives the failure of a system call on the mount its meaning.
func failed(what string, err error) error {
	if gone(err) {
		return fmt.Errorf("%s: %w: %w", what, ErrCrashed, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// gone reports whether err is what the kernel says when nobody serves a mount.
func gone(err error) bool {
	return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED)
}
