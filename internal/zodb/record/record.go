// Package record says what a ZODB record says: the class of an object and its
// state.
//
// # Nouns
//
// A record is two pickles one after another, the class description and the
// state, which share one memo. Decode runs both and hands the class name and
// the state, as a Value, to a function of the caller. An Encoder goes the other
// way and writes what ZODB on Python 3 writes.
//
// # Two decoders
//
// The states of arrays and their block tables consist of integers, byte
// strings, references and tuples. They are decoded by a small pickle machine
// that copies nothing and re-uses its memory. Whatever it does not know goes to
// package ogórek, with the same result in the same kinds of Value. A record
// that neither understands gives an *Error.
//
// # Bounds
//
// A record comes from outside. Lengths are checked against what is left of the
// record before they are used, bytes behind the second pickle are refused, and
// the machine allocates at most four times the record plus a constant. Records
// above 16 MiB or with more than 2^20 opcodes are not given to ogórek.
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
// are KindOther: they are recognised, and nothing can be asked about them.
package record

import (
	"errors"
	"fmt"
)

// Class names a Python class. The zero Class stands for a class that is itself
// an object of the database, whose name the record does not tell.
type Class struct {
	Module, Name string
}

// String returns "module.name".
func (c Class) String() string {
	if c == (Class{}) {
		return "unknown class"
	}
	return c.Module + "." + c.Name
}

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

// maxRecord bounds records so that offsets and lengths fit everywhere.
const maxRecord = 1<<31 - 1

// Decode decodes a record and calls f with the class of the object and its
// state. An error of f is returned as it is; else the error is an *Error.
func Decode(data []byte, f func(class Class, state Value) error) error {
	if len(data) > maxRecord {
		return &Error{Msg: fmt.Sprintf("record of %d bytes is too big", len(data))}
	}
	m := newMachine(data)
	class, state, err := m.decode()
	if err == nil {
		err = f(class, state)
	}
	m.free()
	return err
}

// ClassOf decodes the class of the object only: it works for records whose
// state is beyond both decoders. The error is an *Error.
func ClassOf(data []byte) (Class, error) {
	if len(data) > maxRecord {
		return Class{}, &Error{Msg: fmt.Sprintf("record of %d bytes is too big", len(data))}
	}
	m := newMachine(data)
	defer m.free()
	desc, err := m.pickle()
	if errors.Is(err, errForeign) {
		desc, _, err = m.decodeForeign(1)
	}
	if err != nil {
		return Class{}, err
	}
	return m.describe(desc)
}

// decode runs both pickles, in the machine or else in ogórek.
func (m *machine) decode() (class Class, state Value, err error) {
	desc, err := m.pickle()
	if err == nil {
		if class, err = m.describe(desc); err != nil {
			return class, Value{}, err
		}
		state, err = m.pickle()
	}
	if err == nil {
		if m.pos != len(m.data) {
			err = m.errorf("%d bytes behind the state", len(m.data)-m.pos)
		}
	} else if err == errForeign {
		desc, state, err = m.decodeForeign(2)
		if err == nil {
			class, err = m.describe(desc)
		}
	}
	if e, ok := err.(*Error); ok {
		e.Class = class
	}
	return class, state, err
}

// describe finds the class name in a class description. The forms are those of
// ZODB/serialize.py: class, (class, args), ((module, name), args); args may be
// None. Instead of a class there may be a reference to one.
func (m *machine) describe(desc Value) (Class, error) {
	if desc.Kind() == KindTuple && desc.Len() == 2 {
		desc = desc.At(0)
	}
	switch desc.Kind() {
	case KindClass:
		return desc.Class(), nil
	case KindRef:
		return Class{}, nil
	case KindTuple:
		module, ok1 := nameIn(desc.At(0))
		name, ok2 := nameIn(desc.At(1))
		if desc.Len() == 2 && ok1 && ok2 {
			return Class{internModule(module), internName(name)}, nil
		}
	}
	return Class{}, m.errorf("expect a class description; got %s", desc)
}

func nameIn(v Value) ([]byte, bool) {
	if text, ok := v.Text(); ok {
		return text, true
	}
	return v.Bytes()
}
