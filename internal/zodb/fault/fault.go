// Package fault says what an error means to those who have to act on it: a script, which
// sees the exit code of a command, and a program that reads from a mount, which sees an
// errno. An error says its Kind by a method, or is an Error. One table has all kinds, with
// the exit code, the errno and the text of each; help and manual pages are made from it,
// and a test compares the documents with it.
//
// The package imports nothing of this module, so that every other package can use it.
package fault

import (
	"errors"
	"slices"
	"syscall"
)

// Error says what is wrong and what to do. Errors of which nothing but the kind matters to
// programs have this type.
type Error struct {
	Kind  Kind
	About string // the thing that is wrong, such as "mount point /mnt"; may be empty
	Msg   string // what is wrong
	Hint  string // what to do; may be empty
	Err   error  // cause, may be nil; not part of the text
}

func (e *Error) Error() string {
	text := e.Msg
	if e.About != "" {
		text = e.About + ": " + text
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Of returns the kind of an error: that of the outermost error in its chain that has one.
// The errnos of a full disk are of kind NoSpace, all other errors of kind Other.
func Of(err error) Kind {
	if kind, ok := find(err); ok {
		return kind
	}
	if IsFull(err) {
		return NoSpace
	}
	return Other
}

func find(err error) (kind Kind, ok bool) {
	switch e := err.(type) {
	case *Error:
		return e.Kind, true
	case interface{ Kind() Kind }:
		return e.Kind(), true
	case interface{ Unwrap() error }:
		return find(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if kind, ok := find(err); ok {
				return kind, true
			}
		}
	}
	return Other, false
}

// Is reports whether an error is of one of these kinds.
func Is(err error, kinds ...Kind) bool {
	return err != nil && slices.Contains(kinds, Of(err))
}

// IsFull reports whether an error says that nothing more can be written: the disk or a
// quota is full, or a file may not become larger.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
