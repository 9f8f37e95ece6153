package pickle

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Bounds.
const (
	memoryFactor = 64      // times the data, and
	memoryFree   = 1 << 20 // bytes more
	memoFree     = 256     // memo entries more than bytes of data
	maxDigits    = 4300    // of a number in text: parsing is not linear
)

// Sizes of what is allocated, in bytes, as counted against the bounds.
const (
	wordSize   = 8
	valueSize  = 16 // an interface
	stringSize = 16
	slotSize   = 24
	sliceSize  = 24
	classSize  = 32
	refSize    = 40
	objectSize = 112
)

// decoder is a pickle virtual machine. Nothing in it is recursive.
type decoder struct {
	data []byte
	pos  int // of the next byte

	stack []any
	floor int   // stack position of the topmost mark
	marks []int // values of floor below the topmost mark

	memo  []slot // kept from pickle to pickle
	nmemo int    // slots that are set

	free int // bytes that may still be allocated

	inPlace bool // strings are parts of data
}

type slot struct {
	v   any
	set bool
}

func newDecoder(data []byte) *decoder {
	return &decoder{data: data, free: memoryFactor*len(data) + memoryFree}
}

func (d *decoder) errorf(format string, args ...any) error {
	return &Error{Pos: d.pos, Msg: fmt.Sprintf(format, args...)}
}

// pickle runs one pickle and returns its value.
func (d *decoder) pickle() (any, error) {
	d.stack, d.floor, d.marks = d.stack[:0], 0, d.marks[:0]
	for d.pos < len(d.data) {
		at, op := d.pos, d.data[d.pos]
		if op == opStop {
			if len(d.stack) != 1 || len(d.marks) != 0 {
				return nil, d.errorf("pickle ends with %d values and %d marks on the stack", len(d.stack), len(d.marks))
			}
			d.pos++
			return d.stack[0], nil
		}
		step := steps[op]
		if step == nil {
			return nil, d.errorf("opcode %#02x is not known", op)
		}
		d.pos++
		err := step(d)
		if err == nil && d.free < 0 {
			err = d.outOfMemory()
		}
		if e, ok := err.(*Error); ok {
			e.Pos = at
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, d.truncated()
}

// charge counts n bytes that are about to be allocated. Most opcodes allocate
// in proportion to what they take, so that checking after them is enough.
func (d *decoder) charge(n int) { d.free -= n }

func (d *decoder) outOfMemory() error {
	return d.errorf("values take more than %d times the space of the pickle", memoryFactor)
}

func (d *decoder) truncated() error { return d.errorf("data ends inside a pickle") }

// ---- stack ----

func (d *decoder) push(v any) error {
	before := cap(d.stack)
	d.stack = append(d.stack, v)
	d.charge(valueSize * (cap(d.stack) - before))
	return nil
}

// pop takes n values off the stack. They stay valid until the next push.
func (d *decoder) pop(n int) ([]any, error) {
	top := len(d.stack) - n
	if top < d.floor {
		return nil, d.errorf("stack underflow")
	}
	values := d.stack[top:]
	d.stack = d.stack[:top]
	return values, nil
}

// top returns the topmost value and leaves it there.
func (d *decoder) top() (any, error) {
	if len(d.stack) <= d.floor {
		return nil, d.errorf("stack underflow")
	}
	return d.stack[len(d.stack)-1], nil
}

func (d *decoder) mark() error {
	d.marks = append(d.marks, d.floor)
	d.floor = len(d.stack)
	d.charge(2 * wordSize)
	return nil
}

// popMark takes the topmost mark off the stack and the values above it, which
// stay valid until the next push.
func (d *decoder) popMark() ([]any, error) {
	if len(d.marks) == 0 {
		return nil, d.errorf("no mark on the stack")
	}
	values := d.stack[d.floor:]
	d.stack = d.stack[:d.floor]
	d.floor = d.marks[len(d.marks)-1]
	d.marks = d.marks[:len(d.marks)-1]
	return values, nil
}

// drop is POP, which takes a mark if that is on top.
func (d *decoder) drop() error {
	if len(d.stack) == d.floor && len(d.marks) > 0 {
		_, err := d.popMark()
		return err
	}
	_, err := d.pop(1)
	return err
}

func (d *decoder) dup() error {
	v, err := d.top()
	if err != nil {
		return err
	}
	return d.push(v)
}

// ---- memo ----

// put puts the topmost value into the memo. Writers number what they put, so an
// index is never more than there are bytes.
func (d *decoder) put(index uint64) error {
	v, err := d.top()
	if err != nil {
		return err
	}
	if index >= uint64(len(d.data)+memoFree) {
		return d.errorf("memo index %d is out of range", index)
	}
	if n := int(index) + 1; n > len(d.memo) {
		before := cap(d.memo)
		d.memo = append(d.memo, make([]slot, n-len(d.memo))...)
		d.charge(slotSize * (cap(d.memo) - before))
	}
	if !d.memo[index].set {
		d.nmemo++
	}
	d.memo[index] = slot{v, true}
	return nil
}

func (d *decoder) memoize() error { return d.put(uint64(d.nmemo)) }

func (d *decoder) get(index uint64) error {
	if index >= uint64(len(d.memo)) || !d.memo[index].set {
		return d.errorf("nothing in memo at %d", index)
	}
	return d.push(d.memo[index].v)
}

// ---- arguments ----

// next reads n bytes.
func (d *decoder) next(n uint64) ([]byte, error) {
	if left := len(d.data) - d.pos; n > uint64(left) {
		return nil, d.errorf("an argument of %d bytes, but only %d are left", n, left)
	}
	b := d.data[d.pos:][:n]
	d.pos += int(n)
	return b, nil
}

// uint reads a little-endian number of size bytes, 1 to 8.
func (d *decoder) uint(size uint64) (uint64, error) {
	b, err := d.next(size)
	if err != nil {
		return 0, err
	}
	var word [8]byte
	copy(word[:], b)
	return binary.LittleEndian.Uint64(word[:]), nil
}

// counted reads bytes whose number is told by the size bytes before.
func (d *decoder) counted(size uint64) ([]byte, error) {
	n, err := d.uint(size)
	if err != nil {
		return nil, err
	}
	return d.next(n)
}

// line reads up to a newline and leaves that out.
func (d *decoder) line() ([]byte, error) {
	n := bytes.IndexByte(d.data[d.pos:], '\n')
	if n < 0 {
		return nil, d.truncated()
	}
	line := d.data[d.pos:][:n]
	d.pos += n + 1
	return line, nil
}
