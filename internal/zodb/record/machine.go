package record

import (
	"errors"
	"fmt"
	"sync"
)

// errForeign says that the machine met something it does not know. It is no
// verdict about the record.
var errForeign = errors.New("not for the machine")

// Sizes of a machine. A reference with its key takes at least 16 bytes of the
// record and two values, and at least as many bytes for its two memo entries;
// so one value and one memo entry for each 8 bytes are enough for what the
// machine is for, and 16-byte values keep it within four times the record.
const (
	minVals      = 512
	minMemo      = 256
	bytesPerVal  = 8
	maxMarks     = 64
	keepVals     = 1 << 16 // larger machines are not kept for re-use
	oidLen       = 8
	maxRefTail   = 17 // bytes of a reference behind its oid, see refTail
	maxLongBytes = 8
)

// machine is a pickle virtual machine for the opcodes that arrays use.
//
// vals holds the stack, growing up from the start, and the arena with the items
// of tuples, growing down from the end. Making a tuple moves values from one to
// the other, so both together never need more than the values that were pushed.
// A tuple says how far from the end its first item is: this survives growth.
type machine struct {
	data []byte
	pos  int // of the next opcode

	vals  []val
	sp    int // stack is vals[:sp]
	arena int // arena is the last so many vals
	floor int // stack position of the topmost mark

	marks  [maxMarks]int // values of floor below the topmost mark
	nmarks int

	memo    []val // KindInvalid where nothing was put
	memoEnd int   // memo[memoEnd:] is clear

	classes []Class
	foreign []any // what formForeign values refer to
}

// machines keeps machines between uses. It has no meaning beyond saving
// allocations.
var machines sync.Pool

func newMachine(data []byte) *machine {
	m, _ := machines.Get().(*machine)
	if m == nil {
		m = &machine{vals: make([]val, minVals), memo: make([]val, minMemo)}
	}
	m.begin(data)
	return m
}

// begin gives m, which is fresh or freed, a record.
func (m *machine) begin(data []byte) {
	m.data = data
	m.vals = m.vals[:min(cap(m.vals), m.maxVals())]
	m.memo = m.memo[:min(cap(m.memo), m.maxMemo())]
}

func (m *machine) maxVals() int { return minVals + len(m.data)/bytesPerVal }
func (m *machine) maxMemo() int { return minMemo + len(m.data)/bytesPerVal }

// free forgets the record and keeps the machine for re-use.
func (m *machine) free() {
	clear(m.memo[:m.memoEnd])
	clear(m.classes)
	m.data, m.foreign = nil, nil
	m.pos, m.sp, m.arena, m.floor, m.nmarks, m.memoEnd = 0, 0, 0, 0, 0, 0
	m.classes = m.classes[:0]
	if cap(m.vals) <= keepVals && cap(m.memo) <= keepVals {
		machines.Put(m)
	}
}

func (m *machine) errorf(format string, args ...any) error {
	return &Error{Pos: m.pos, Msg: fmt.Sprintf(format, args...)}
}

// pickle runs one pickle from m.pos on and returns its value. The memo and the
// arena stay for the next pickle, the stack does not.
func (m *machine) pickle() (Value, error) {
	m.sp, m.floor, m.nmarks = 0, 0, 0
	if rest := m.data[m.pos:]; len(rest) >= 2 && rest[0] == opProto {
		if rest[1] > maxProto {
			return Value{}, m.errorf("pickle protocol %d is not known", rest[1])
		}
		m.pos += 2
	}
	for m.pos < len(m.data) {
		at, op := m.pos, m.data[m.pos]
		if op == opStop {
			if m.sp != 1 || m.nmarks != 0 {
				return Value{}, m.errorf("pickle ends with %d values and %d marks on the stack", m.sp, m.nmarks)
			}
			m.pos++
			return Value{m, m.vals[0]}, nil
		}
		m.pos++
		err := m.step(op)
		if err != nil {
			if e, ok := err.(*Error); ok {
				e.Pos = at
			}
			return Value{}, err
		}
	}
	return Value{}, m.errorf("record ends inside a pickle")
}

// step executes one opcode; m.pos is behind it.
func (m *machine) step(op byte) error {
	switch op {
	case opShortBinBytes, opShortBinString:
		return m.shortBytes()
	case opBinInt1:
		return m.binInt(1)
	case opBinInt2:
		return m.binInt(2)
	case opBinInt:
		return m.binInt(4)
	case opBinPut:
		return m.put(m.uint(1))
	case opLongBinPut:
		return m.put(m.uint(4))
	case opBinGet:
		return m.get(m.uint(1))
	case opLongBinGet:
		return m.get(m.uint(4))
	case opBinPersid:
		return m.persid()
	case opTuple1, opTuple2, opTuple3:
		return m.tuple(int(op-opTuple1) + 1)
	case opMark:
		return m.mark()
	case opTuple:
		return m.markTuple()
	case opEmptyTuple:
		return m.push(val{kind: KindTuple})
	case opNone:
		return m.push(val{kind: KindNone})
	case opGlobal:
		return m.global()
	case opBinBytes:
		return m.counted(KindBytes, 4)
	case opBinString:
		return m.binString()
	case opBinBytes8:
		return m.counted(KindBytes, 8)
	case opBinUnicode:
		return m.counted(KindText, 4)
	case opLong1:
		return m.long(m.uint(1))
	case opLong4:
		return m.long(m.uint(4))
	case opInt, opLong:
		return m.textInt(op == opLong)
	case opPut, opGet:
		return m.textMemo(op == opPut)
	}
	return errForeign
}

// ---- stack ----

func (m *machine) push(v val) error {
	if m.sp+m.arena == len(m.vals) && !m.grow() {
		return errForeign
	}
	m.vals[m.sp] = v
	m.sp++
	return nil
}

// grow makes vals as large as this record may have it, and reports whether it
// was smaller. Going there in one step keeps the sum of allocations bounded.
func (m *machine) grow() bool {
	limit := m.maxVals()
	if len(m.vals) >= limit {
		return false
	}
	vals := make([]val, limit)
	copy(vals, m.vals[:m.sp])
	copy(vals[limit-m.arena:], m.vals[len(m.vals)-m.arena:])
	m.vals = vals
	return true
}

func (m *machine) mark() error {
	if m.nmarks == len(m.marks) {
		return errForeign
	}
	m.marks[m.nmarks] = m.floor
	m.nmarks++
	m.floor = m.sp
	return nil
}

// tuple makes a tuple from the topmost n values.
func (m *machine) tuple(n int) error {
	if m.sp-n < m.floor {
		return m.errorf("stack underflow")
	}
	items := m.vals[m.sp-n : m.sp]
	if n == 2 && items[0].kind == KindBytes && items[0].n == oidLen && items[1].kind == KindClass {
		items[0] = val{kind: KindTuple, form: formPair, n: items[1].n, x: items[0].x}
		m.sp--
		return nil
	}
	m.sp -= n
	m.arena += n
	copy(m.vals[len(m.vals)-m.arena:], items) // the places may overlap
	return m.push(val{kind: KindTuple, n: uint32(n), x: uint64(m.arena)})
}

func (m *machine) markTuple() error {
	if m.nmarks == 0 {
		return m.errorf("no mark on the stack")
	}
	n := m.sp - m.floor
	if err := m.tuple(n); err != nil {
		return err
	}
	m.nmarks--
	m.floor = m.marks[m.nmarks]
	return nil
}

// ---- memo ----

func (m *machine) put(index uint64, ok bool) error {
	if !ok {
		return m.truncated()
	}
	if m.sp <= m.floor {
		return m.errorf("stack underflow")
	}
	return m.setMemo(index, m.vals[m.sp-1])
}

func (m *machine) setMemo(index uint64, v val) error {
	if index >= uint64(len(m.memo)) {
		if index >= uint64(m.maxMemo()) {
			return errForeign
		}
		memo := make([]val, m.maxMemo())
		copy(memo, m.memo[:m.memoEnd])
		m.memo = memo
	}
	m.memo[index] = v
	m.memoEnd = max(m.memoEnd, int(index)+1)
	return nil
}

func (m *machine) get(index uint64, ok bool) error {
	if !ok {
		return m.truncated()
	}
	if index >= uint64(m.memoEnd) || m.memo[index].kind == KindInvalid {
		return m.errorf("nothing in memo at %d", index)
	}
	return m.push(m.memo[index])
}
