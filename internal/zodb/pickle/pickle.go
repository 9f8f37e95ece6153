package pickle

import (
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
)

// A value is nil for None, bool, int64, *big.Int (what int64 cannot hold),
// float64, string for text, record.Class for a class or function, and one of
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
		Class record.Class
	}

	// Foreign is any other persistent id: weak references and those to other
	// databases.
	Foreign struct{ ID any }

	// Object is what Python makes by calling New with Args and maybe
	// setting a state. Sets of protocol 4 are calls of builtins.set and
	// builtins.frozenset without arguments and with Items.
	Object struct {
		New    any // record.Class almost always
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
func Record(data []byte) (class record.Class, state any, err error) {
	d := newDecoder(data)
	desc, err := d.pickle()
	if err != nil {
		return class, nil, err
	}
	class, ok := d.classOf(desc)
	if !ok {
		return class, nil, d.errorf("expect a class description; got %T", desc)
	}
	state, err = d.last()
	return class, state, err
}

// Decode decodes one pickle, which must be all of data. The error is an *Error.
func Decode(data []byte) (any, error) {
	return newDecoder(data).last()
}

// DecodeInPlace is Decode that copies no strings: byte strings and text of the result are
// parts of data. So data must not change as long as any of them is in use.
func DecodeInPlace(data []byte) (any, error) {
	d := newDecoder(data)
	d.inPlace = true
	return d.last()
}

// last runs one pickle that must end with the data.
func (d *decoder) last() (any, error) {
	v, err := d.pickle()
	if err == nil && d.pos != len(d.data) {
		return nil, d.errorf("%d bytes behind the end", len(d.data)-d.pos)
	}
	return v, err
}

// classOf finds the class in a class description: a class, (class, args), or
// ((module, name), args), where args may be None. Instead of a class there may
// be a reference to one.
func (d *decoder) classOf(desc any) (record.Class, bool) {
	if pair, ok := desc.(Tuple); ok && len(pair) == 2 {
		desc = pair[0]
	}
	switch x := desc.(type) {
	case record.Class:
		return x, true
	case Ref:
		return record.Class{}, true
	case Tuple:
		return d.namedClass(x)
	}
	return record.Class{}, false
}

// namedClass understands module and name.
func (d *decoder) namedClass(pair []any) (class record.Class, ok bool) {
	if len(pair) != 2 {
		return class, false
	}
	module, ok1 := Text(pair[0])
	name, ok2 := Text(pair[1])
	// Names may come again and again from the memo, and are looked at each time.
	d.charge(classSize + len(module) + len(name))
	if !ok1 || !ok2 {
		return class, false
	}
	return record.Class{Module: module, Name: name}, true
}

// Split cuts a record into its two pickles, class description and state. The state
// may need what the class description has put into the memo. The error is an *Error.
func Split(data []byte) (class, state []byte, err error) {
	d := newDecoder(data)
	if _, err := d.pickle(); err != nil {
		return nil, nil, err
	}
	return data[:d.pos], data[d.pos:], nil
}
