// Package record decodes and encodes ZODB records: the class of an object and
// its state.
//
// # Nouns
//
// A record is two pickles one after another, the class description and the
// state, which share one memo. Decode runs both in a pickle.Machine and hands the
// class name and the state, as a Value, to a function of the caller. An Encoder goes
// the other way and writes what ZODB on Python 3 writes.
//
// The states of arrays and their block tables consist of integers, byte strings,
// references and tuples. For records of those, Decode copies nothing and re-uses its
// memory. Every other pickle of Python is recognised, and nothing can be asked about
// it: pickle.Record is for that. A record that is malformed gives an *Error.
//
// # Bounds
//
// A record comes from outside. Lengths are checked against what is left of the
// record before they are used, and bytes behind the second pickle are refused. The
// records of arrays take at most four times their size plus a constant; those that
// have more than one value for each 8 bytes, or values of other kinds, are refused if
// these take more than 64 times the record, or more than 64 MiB.
//
// # Ownership and locking
//
// A Value is valid only during the call it is handed to. The bytes it refers to
// are those of the record, or memory of their own: they live as long as the
// record does. Functions may be called from any number of goroutines; a Value
// and an Encoder belong to one of them.
//
// # Caveats
//
// Byte strings of Python 2 (str) and of Python 3 (bytes) are one kind, because
// oids and block data come as either. Dicts, lists, floats, booleans and calls
// are KindOther.
package record

import (
	"errors"
	"fmt"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

// Types of package pickle.
type (
	Class = pickle.Class
	Value = pickle.Value
)

// Error says why a record cannot be decoded. Loading is not its business, so it
// knows neither oid nor serial.
type Error struct {
	Class Class // of the object when it could be decoded, else zero
	Pos   int   // offset in the record, in bytes
	Msg   string
}

func (e *Error) Error() string {
	if e.Class == (Class{}) {
		return fmt.Sprintf("at byte %d of the record: %s", e.Pos, e.Msg)
	}
	return fmt.Sprintf("at byte %d of the record of a %s: %s", e.Pos, e.Class, e.Msg)
}

// Decode decodes a record and calls f with the class of the object and its
// state. An error of f is returned as it is; else the error is an *Error.
func Decode(data []byte, f func(class Class, state Value) error) error {
	m := pickle.NewMachine(data, known[:])
	defer m.Free()
	class, err := m.Class()
	if err != nil {
		return asError(class, err)
	}
	state, err := m.Last()
	if err != nil {
		return asError(class, err)
	}
	return f(class, state)
}

// ClassOf decodes the class of the object only: it works for records whose
// state is malformed. The error is an *Error.
func ClassOf(data []byte) (Class, error) {
	m := pickle.NewMachine(data, known[:])
	defer m.Free()
	class, err := m.Class()
	return class, asError(class, err)
}

func asError(class Class, err error) error {
	var bad *pickle.Error
	if !errors.As(err, &bad) {
		return err
	}
	return &Error{class, bad.Pos, bad.Msg}
}
