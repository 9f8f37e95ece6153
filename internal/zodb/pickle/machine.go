package pickle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
)

// Sizes of a machine. A reference with its key takes at least 16 bytes of a pickle
// and two values, and at least as many bytes for its two memo entries; so one value
// and one memo entry for each 8 bytes are enough for the records of arrays, and
// 16-byte values keep the machine within four times the pickle.
const (
	minVals     = 512
	minMemo     = 256
	bytesPerVal = 8
	keepVals    = 1 << 16   // larger machines are not kept for re-use
	maxData     = 1<<31 - 1 // so that offsets and lengths fit everywhere
)

// Bounds of what else is allocated.
const (
	memoryFactor = 64       // times the data, and
	memoryFree   = 1 << 20  // bytes more
	memoryScan   = 64 << 20 // bytes at most where values are not kept
	memoFree     = 256      // memo entries more than bytes of data
	maxDigits    = 4300     // of a number in text: parsing is not linear
)

// Sizes of what is allocated, in bytes, as counted against the bounds.
const (
	wordSize   = 8
	valueSize  = 16 // an interface, and a val
	stringSize = 16
	sliceSize  = 24
	classSize  = 32
	refSize    = 40
	objectSize = 112
)

// Machine is the pickle virtual machine. Nothing in it is recursive.
//
// vals holds the stack, growing up from the start, and the arena with the items
// of tuples, growing down from the end. Making a tuple moves values from one to
// the other, so both together never need more than the values that were pushed.
// A tuple says how far from the end its first item is: this survives growth.
type Machine struct {
	data  []byte
	pos   int // of the next byte
	known []Class

	vals  []val
	sp    int   // stack is vals[:sp]
	arena int   // arena is the last so many vals
	floor int   // stack position of the topmost mark
	marks []int // values of floor below the topmost mark

	memo    []val // KindInvalid where nothing was put; kept from pickle to pickle
	memoEnd int   // memo[memoEnd:] is clear
	nmemo   int   // entries that are set

	classes []Class
	things  []any // values of Go that vals refer to; the first is nil

	free    int  // bytes that may still be allocated
	keep    bool // make what containers, strings and classes are as values of Go
	inPlace bool // strings that are kept are parts of data
}

// machines keeps machines between uses. It has no meaning beyond saving
// allocations.
var machines sync.Pool

// NewMachine returns a machine for data, which may be several pickles. The contents of
// KindOther are not kept, and other values are where they are in the data; so no memory
// is allocated for pickles of those, if known has their classes. The caller frees the
// machine.
func NewMachine(data []byte, known []Class) *Machine {
	m, _ := machines.Get().(*Machine)
	if m == nil {
		m = &Machine{vals: make([]val, minVals), memo: make([]val, minMemo), things: make([]any, 1)}
	}
	m.begin(data, known)
	return m
}

// begin gives m, which is fresh or freed, its data.
func (m *Machine) begin(data []byte, known []Class) {
	m.data, m.known = data, known
	m.vals = m.vals[:min(cap(m.vals), minVals+len(data)/bytesPerVal)]
	m.memo = m.memo[:min(cap(m.memo), minMemo+len(data)/bytesPerVal)]
	m.free = min(memoryFactor*len(data), memoryScan) + memoryFree
}

// newKeeper is NewMachine for values of Go.
func newKeeper(data []byte, inPlace bool) *Machine {
	m := NewMachine(data, nil)
	m.keep, m.inPlace = true, inPlace
	m.free = memoryFactor*len(data) + memoryFree
	return m
}

// Free forgets the data and keeps the machine for re-use. Its Values are void then.
func (m *Machine) Free() {
	clear(m.memo[:m.memoEnd])
	clear(m.classes)
	if len(m.things) > 1 {
		clear(m.things[1:])
		m.things = m.things[:1]
	}
	m.data, m.known, m.keep, m.inPlace = nil, nil, false, false
	m.pos, m.sp, m.arena, m.memoEnd, m.nmemo = 0, 0, 0, 0, 0
	m.classes = m.classes[:0]
	if max(cap(m.vals), cap(m.memo), cap(m.things), cap(m.marks), cap(m.classes)) <= keepVals {
		machines.Put(m)
	}
}

func (m *Machine) errorf(format string, args ...any) error {
	return &Error{Pos: m.pos, Msg: fmt.Sprintf(format, args...)}
}

func (m *Machine) truncated() error { return m.errorf("data ends inside a pickle") }

// Next runs the next pickle and returns its value, which is valid until the machine
// is freed. The error is an *Error.
func (m *Machine) Next() (Value, error) {
	if len(m.data) > maxData {
		return Value{}, m.errorf("%d bytes are too many", len(m.data))
	}
	m.sp, m.floor, m.marks = 0, 0, m.marks[:0]
	if rest := m.data[m.pos:]; len(rest) > 1 && rest[0] == OpProto && rest[1] <= maxProto {
		m.pos += 2 // as almost always
	}
	for m.pos < len(m.data) {
		at, o := m.pos, &opcodes[m.data[m.pos]]
		if m.data[at] == OpStop {
			return m.stop()
		}
		arg, err := m.arg(o)
		if err == nil {
			err = o.do(m, arg)
		}
		if err == nil && m.free < 0 {
			err = m.outOfMemory()
		}
		if err != nil {
			if e, ok := err.(*Error); ok {
				e.Pos = at
			}
			return Value{}, err
		}
	}
	return Value{}, m.truncated()
}

// stop ends a pickle; the position is before the opcode.
func (m *Machine) stop() (Value, error) {
	if m.sp != 1 || len(m.marks) != 0 {
		return Value{}, m.errorf("pickle ends with %d values and %d marks on the stack", m.sp, len(m.marks))
	}
	m.pos++
	return Value{m, m.vals[0]}, nil
}

// Last is Next for a pickle that must end with the data.
func (m *Machine) Last() (Value, error) {
	v, err := m.Next()
	if err == nil && m.pos != len(m.data) {
		return Value{}, m.errorf("%d bytes behind the end", len(m.data)-m.pos)
	}
	return v, err
}

// arg goes over an opcode, and returns its argument: what the length is told by is not
// part of it, the newlines are.
func (m *Machine) arg(o *opcode) ([]byte, error) {
	m.pos++
	n := uint64(o.arg)
	if n >= counted || o.do == nil {
		var err error
		if n, err = m.argSize(o); err != nil {
			return nil, err
		}
	}
	return m.next(n)
}

// argSize finds out how long an argument is.
func (m *Machine) argSize(o *opcode) (n uint64, err error) {
	switch {
	case o.do == nil:
		return 0, m.errorf("%s", unknown(m.data[m.pos-1]))
	case o.arg&counted != 0:
		count, err := m.next(uint64(o.arg & nArg))
		return littleEndian(count), err
	}
	for range o.arg & nArg {
		line := bytes.IndexByte(m.data[m.pos+int(n):], '\n') + 1
		if line == 0 {
			return 0, m.truncated()
		}
		n += uint64(line)
	}
	return n, nil
}

// next reads n bytes.
func (m *Machine) next(n uint64) ([]byte, error) {
	rest := m.data[m.pos:]
	if n > uint64(len(rest)) {
		return nil, m.errorf("an argument of %d bytes, but only %d are left", n, len(rest))
	}
	m.pos += int(n)
	return rest[:n], nil
}

// littleEndian reads a number of at most 8 bytes.
func littleEndian(b []byte) (x uint64) {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	for i, c := range b {
		x |= uint64(c) << (8 * i)
	}
	return x
}

// charge counts n bytes that are about to be allocated. Most opcodes allocate
// in proportion to what they take, so that checking after them is enough.
func (m *Machine) charge(n int) { m.free -= n }

func (m *Machine) outOfMemory() error {
	if !m.keep && len(m.data) > memoryScan/memoryFactor {
		return m.errorf("values take more than %d bytes", memoryScan)
	}
	return m.errorf("values take more than %d times the space of the pickle", memoryFactor)
}
