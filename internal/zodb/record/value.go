package record

import (
	"encoding/binary"
	"fmt"

	ogorek "github.com/kisielk/og-rek"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Kind says what a Value is.
type Kind uint8

const (
	KindInvalid Kind = iota // the zero Value, and what At returns out of range
	KindNone
	KindInt   // an int or long that fits 64 bits
	KindBytes // bytes, or str of Python 2
	KindText  // unicode, in UTF-8
	KindTuple
	KindRef   // a reference to an object of the same database
	KindClass // a class, as a value
	KindOther // anything else
)

// val is a value as the machine keeps it. What n and x are depends on kind and
// form:
//
//	KindInt          x = the integer
//	KindBytes, Text  n = length, x = offset in the record
//	KindTuple        n = length, x = distance of item 0 from the end of vals
//	  formPair       n = index of the class, x = offset of the oid
//	KindRef          n = 1 + index of the class or 0, x = oid
//	KindClass        n = index of the class
//	formForeign      x = index in machine.foreign
type val struct {
	kind Kind
	form form
	n    uint32
	x    uint64
}

type form uint8

const (
	formPlain   form = iota
	formPair         // a tuple of an oid and a class: no arena is spent on it
	formForeign      // decoded by ogórek
)

// Value is a decoded value. It is valid only during the call it is handed to.
type Value struct {
	m *machine
	v val
}

// Kind returns what v is.
func (v Value) Kind() Kind { return v.v.kind }

// Int returns the integer; ok is false if v is none.
func (v Value) Int() (i int64, ok bool) { return int64(v.v.x), v.v.kind == KindInt }

// Ref returns the oid of the object that v refers to; ok is false if v is no
// reference.
func (v Value) Ref() (oid zodb.Oid, ok bool) { return zodb.Oid(v.v.x), v.v.kind == KindRef }

// RefClass returns the class that a reference claims its object to have. It is
// zero if the reference does not say. It may be out of date: the record of the
// object is the authority.
func (v Value) RefClass() Class {
	if v.v.kind != KindRef || v.v.n == 0 {
		return Class{}
	}
	return v.m.classes[v.v.n-1]
}

// Class returns the class that v is, or the zero Class.
func (v Value) Class() Class {
	if v.v.kind != KindClass {
		return Class{}
	}
	return v.m.classes[v.v.n]
}

// Bytes returns the byte string; ok is false if v is none. It is a slice of the
// record unless the record has it encoded, and must not be modified.
func (v Value) Bytes() (b []byte, ok bool) {
	if v.v.kind != KindBytes {
		return nil, false
	}
	return v.raw(), true
}

// Text returns the unicode string in UTF-8 as stored, not validated; ok is
// false if v is none. It must not be modified.
func (v Value) Text() (utf8 []byte, ok bool) {
	if v.v.kind != KindText {
		return nil, false
	}
	return v.raw(), true
}

func (v Value) raw() []byte {
	if v.v.form == formForeign {
		return v.m.foreignBytes(v.v)
	}
	end := v.v.x + uint64(v.v.n)
	return v.m.data[v.v.x:end:end]
}

// Len returns the number of items of a tuple, 0 for everything else.
func (v Value) Len() int {
	switch {
	case v.v.kind != KindTuple:
		return 0
	case v.v.form == formPlain:
		return int(v.v.n)
	case v.v.form == formPair:
		return 2
	}
	return len(v.m.foreign[v.v.x].(ogorek.Tuple))
}

// At returns item i of a tuple. Out of range it is the zero Value.
func (v Value) At(i int) Value {
	if v.v.kind == KindTuple && v.v.form == formPlain && uint(i) < uint(v.v.n) {
		return Value{v.m, v.m.vals[len(v.m.vals)-int(v.v.x)+i]}
	}
	return v.atOther(i)
}

func (v Value) atOther(i int) Value {
	if uint(i) >= uint(v.Len()) {
		return Value{}
	}
	switch {
	case v.v.form == formForeign:
		return v.m.wrap(v.m.foreign[v.v.x].(ogorek.Tuple)[i])
	case i == 0:
		return Value{v.m, val{kind: KindBytes, n: 8, x: v.v.x}}
	}
	return Value{v.m, val{kind: KindClass, n: v.v.n}}
}

// String describes v shortly, for error messages. The length of the result does
// not depend on the size of v.
func (v Value) String() string {
	switch v.v.kind {
	case KindInvalid:
		return "nothing"
	case KindNone:
		return "None"
	case KindInt:
		return fmt.Sprintf("%d", int64(v.v.x))
	case KindBytes:
		return fmt.Sprintf("bytes[%d]", len(v.raw()))
	case KindText:
		return fmt.Sprintf("text[%d]", len(v.raw()))
	case KindTuple:
		return fmt.Sprintf("[%d]()", v.Len())
	case KindRef:
		return fmt.Sprintf("%s %s", clip(v.RefClass()), zodb.Oid(v.v.x))
	case KindClass:
		return fmt.Sprintf("class %s", clip(v.Class()))
	}
	if v.v.form == formForeign {
		return fmt.Sprintf("%T", v.m.foreign[v.v.x])
	}
	return "something else"
}

// clip bounds the text of a class name: it is as long as the record likes.
func clip(c Class) string {
	s := c.String()
	if len(s) > 100 {
		s = s[:100] + "..."
	}
	return s
}

// oidAt returns the oid whose 8 bytes are at offset pos of the record.
func (m *machine) oidAt(pos uint64) zodb.Oid {
	return zodb.Oid(binary.BigEndian.Uint64(m.data[pos:]))
}
