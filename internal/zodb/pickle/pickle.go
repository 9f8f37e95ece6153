package pickle

import (
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"
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

// A value is nil for None, bool, int64, *big.Int (what int64 cannot hold),
// float64, string for text, Class for a class or function, and one of
// Bytes, Tuple, *List, *Dict, Ref, Foreign and *Object.
type (
	// Bytes is a byte string: bytes, and str of Python 2, which may be text.
	Bytes string

	// Tuple is a tuple.
	Tuple []any

	// List is a list. It is a pointer since lists may be shared.
	List struct{ Items []any }

	// Dict is a dict in the order of the pickle. Keys may come twice; the last
	// one counts.
	Dict struct{ Items []Item }

	// Item is one item of a Dict.
	Item struct{ Key, Value any }

	// Ref is a reference to another object of the same database. Class is zero
	// if the reference does not tell it.
	Ref struct {
		Oid   zodb.Oid
		Class Class
	}

	// Foreign is any other persistent id: weak references and those to other
	// databases.
	Foreign struct{ ID any }

	// Object is what Python makes by calling New with Args and maybe
	// setting a state. Sets of protocol 4 are calls of builtins.set and
	// builtins.frozenset without arguments and with Items.
	Object struct {
		New    any // Class almost always
		Args   Tuple
		Kwargs *Dict  // keyword arguments, nil if none
		State  any    // nil if none
		Items  []any  // what was appended or added to it
		Dict   []Item // what was set in it by key
	}
)

// Error says why a pickle cannot be decoded.
type Error struct {
	Pos int // offset in the data, in bytes
	Msg string
}

func (e *Error) Error() string { return fmt.Sprintf("at byte %d of the pickle: %s", e.Pos, e.Msg) }

// Record decodes a record of the database: the class of an object and its
// state. The class is zero if it is itself an object of the database. The error
// is an *Error.
func Record(data []byte) (class Class, state any, err error) {
	m := newKeeper(data, false)
	defer m.Free()
	if class, err = m.Class(); err == nil {
		state, err = m.lastKept()
	}
	return class, state, err
}

// Decode decodes one pickle, which must be all of data. The error is an *Error.
func Decode(data []byte) (any, error) {
	m := newKeeper(data, false)
	defer m.Free()
	return m.lastKept()
}

// DecodeInPlace is Decode that copies no strings: byte strings and text of the result are
// parts of data. So data must not change as long as any of them is in use.
func DecodeInPlace(data []byte) (any, error) {
	m := newKeeper(data, true)
	defer m.Free()
	return m.lastKept()
}

func (m *Machine) lastKept() (any, error) {
	v, err := m.Last()
	if err != nil {
		return nil, err
	}
	return m.any(v.v), nil
}

// Class runs the next pickle, which must describe a class. The forms are those of
// ZODB/serialize.py: class, (class, args), ((module, name), args); args may be None.
// Instead of a class there may be a reference to one.
func (m *Machine) Class() (Class, error) {
	if i := m.usualClass(); i >= 0 {
		return m.known[i], nil
	}
	desc, err := m.Next()
	if err != nil {
		return Class{}, err
	}
	v := desc
	if v.Len() == 2 {
		v = v.At(0)
	}
	switch {
	case v.Kind() == KindClass:
		return v.Class(), nil
	case v.Kind() == KindRef:
		return Class{}, nil
	case v.Len() == 2:
		if c, ok := m.named(v.At(0), v.At(1)); ok {
			return m.classes[c.n], nil
		}
	}
	return Class{}, m.errorf("expect a class description; got %s", desc)
}

// Split cuts a record into its two pickles, class description and state. The state
// may need what the class description has put into the memo. The error is an *Error.
func Split(data []byte) (class, state []byte, err error) {
	m := NewMachine(data, nil)
	defer m.Free()
	if _, err := m.Next(); err != nil {
		return nil, nil, err
	}
	return data[:m.pos], data[m.pos:], nil
}
