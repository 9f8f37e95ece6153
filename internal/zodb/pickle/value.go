package pickle

import (
	"fmt"
	"slices"
	"strings"

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

// val is a value as the machine has it. The meaning of n and x depends on kind and
// form:
//
//	KindInt          x = the integer
//	KindBytes, Text  n = length, x = offset in the data
//	  formOwn        n = length
//	KindTuple        n = length, x = distance of item 0 from the end of vals
//	  formPair       n = index of the class, x = offset of the oid
//	KindRef          n = 1 + index of the class or 0, x = oid
//	KindClass        n = index of the class
//
// Where x is no integer and no oid, its upper half is the index in things of the
// same as a value of Go, or 0.
type val struct {
	kind Kind
	form form
	n    uint32
	x    uint64
}

type form uint8

const (
	formPlain form = iota
	formPair       // a tuple of an oid and a class: no arena is spent on it
	formOwn        // a string that is no part of the data: only things have it
)

// thing gives v, whose x has only its lower half, a value of Go.
func (m *Machine) thing(v val, x any) val {
	if n := len(m.things); n == cap(m.things) {
		m.things = slices.Grow(m.things, n)
		m.charge(valueSize * (cap(m.things) - n))
	}
	m.things = append(m.things, x)
	v.x |= uint64(len(m.things)-1) << 32
	return v
}

// other pushes what has no kind of its own.
func (m *Machine) other(x any) error { return m.push(m.thing(val{kind: KindOther}, x)) }

// any returns v as a value of Go, nil if that was not kept.
func (m *Machine) any(v val) any {
	switch v.kind {
	case KindInt:
		m.charge(wordSize)
		return int64(v.x)
	case KindRef:
		m.charge(refSize)
		return Ref{zodb.Oid(v.x), Value{m, v}.RefClass()}
	}
	return m.things[v.x>>32]
}

// Value is a value in a Machine.
type Value struct {
	m *Machine
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
// data unless the pickle has it encoded, and must not be modified.
func (v Value) Bytes() (b []byte, ok bool) { return v.raw(KindBytes) }

// Text returns the unicode string in UTF-8 as stored, not validated; ok is
// false if v is none. It must not be modified.
func (v Value) Text() (utf8 []byte, ok bool) { return v.raw(KindText) }

func (v Value) raw(kind Kind) (b []byte, ok bool) {
	switch {
	case v.v.kind != kind:
		return nil, false
	case v.v.form != formOwn:
		begin := int(uint32(v.v.x))
		end := begin + int(v.v.n)
		return v.m.data[begin:end:end], true
	case kind == KindBytes:
		return []byte(v.m.any(v.v).(Bytes)), true
	}
	return []byte(v.m.any(v.v).(string)), true
}

// Len returns the number of items of a tuple, 0 for everything else.
func (v Value) Len() int {
	switch {
	case v.v.kind != KindTuple:
		return 0
	case v.v.form == formPair:
		return 2
	}
	return int(v.v.n)
}

// At returns item i of a tuple. Out of range it is the zero Value.
func (v Value) At(i int) Value {
	switch {
	case uint(i) >= uint(v.Len()):
		return Value{}
	case v.v.form == formPlain:
		return Value{v.m, v.m.vals[len(v.m.vals)-int(uint32(v.v.x))+i]}
	case i == 0:
		return Value{v.m, val{kind: KindBytes, n: oidLen, x: v.v.x}}
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
		return fmt.Sprintf("bytes[%d]", v.v.n)
	case KindText:
		return fmt.Sprintf("text[%d]", v.v.n)
	case KindTuple:
		return fmt.Sprintf("[%d]()", v.Len())
	case KindRef:
		return fmt.Sprintf("%s %s", clip(v.RefClass()), zodb.Oid(v.v.x))
	case KindClass:
		return fmt.Sprintf("class %s", clip(v.Class()))
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", v.m.any(v.v)), "*pickle.")
}

// clip bounds the text of a class name: it is as long as the pickle likes.
func clip(c Class) string {
	s := c.String()
	if len(s) > 100 {
		s = s[:100] + "..."
	}
	return s
}
