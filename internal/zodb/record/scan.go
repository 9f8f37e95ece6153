package record

import (
	"bytes"
	"encoding/binary"
)

// Pickle opcodes, from Python's pickletools.
const (
	opMark           = '('
	opStop           = '.'
	opPop            = '0'
	opDup            = '2'
	opFloat          = 'F'
	opInt            = 'I'
	opLong           = 'L'
	opNone           = 'N'
	opPersid         = 'P'
	opReduce         = 'R'
	opString         = 'S'
	opUnicode        = 'V'
	opAppend         = 'a'
	opGlobal         = 'c'
	opDict           = 'd'
	opGet            = 'g'
	opList           = 'l'
	opPut            = 'p'
	opSetItem        = 's'
	opTuple          = 't'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opBinInt2        = 'M'
	opBinPersid      = 'Q'
	opBinString      = 'T'
	opShortBinString = 'U'
	opBinUnicode     = 'X'
	opAppends        = 'e'
	opBinGet         = 'h'
	opLongBinGet     = 'j'
	opEmptyList      = ']'
	opEmptyTuple     = ')'
	opEmptyDict      = '}'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opSetItems       = 'u'
	opBinFloat       = 'G'
	opBinBytes       = 'B'
	opShortBinBytes  = 'C'

	opProto           = 0x80
	opTuple1          = 0x85
	opTuple2          = 0x86
	opTuple3          = 0x87
	opNewTrue         = 0x88
	opNewFalse        = 0x89
	opLong1           = 0x8a
	opLong4           = 0x8b
	opShortBinUnicode = 0x8c
	opBinBytes8       = 0x8e
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95
	opByteArray8      = 0x96

	maxProto = 5
)

// arg is the shape of an opcode's argument.
type arg uint8

const (
	argBad   arg = iota // ogórek does not do this opcode, or does it wrong
	argNone             // nothing
	arg1                // fixed number of bytes
	arg2                //
	arg4                //
	arg8                //
	argLen1             // length, then so many bytes
	argLen4             //
	argLen8             //
	argLine             // up to a newline
	argLine2            // two of them
)

// opShape says what an opcode does to the stack: it takes everything above the
// topmost mark if toMark is set, then pop values, and leaves push values.
type opShape struct {
	arg       arg
	toMark    bool
	pop, push int8
}

// opShapes has the opcodes that may be given to ogórek. POP_MARK is not among
// them because ogórek ignores it.
var opShapes = [256]opShape{
	opPop:             {argNone, false, 1, 0},
	opDup:             {argNone, false, 1, 2},
	opFloat:           {argLine, false, 0, 1},
	opInt:             {argLine, false, 0, 1},
	opLong:            {argLine, false, 0, 1},
	opNone:            {argNone, false, 0, 1},
	opPersid:          {argLine, false, 0, 1},
	opReduce:          {argNone, false, 2, 1},
	opString:          {argLine, false, 0, 1},
	opUnicode:         {argLine, false, 0, 1},
	opAppend:          {argNone, false, 2, 1},
	opGlobal:          {argLine2, false, 0, 1},
	opDict:            {argNone, true, 0, 1},
	opGet:             {argLine, false, 0, 1},
	opList:            {argNone, true, 0, 1},
	opPut:             {argLine, false, 1, 1},
	opSetItem:         {argNone, false, 3, 1},
	opTuple:           {argNone, true, 0, 1},
	opBinInt:          {arg4, false, 0, 1},
	opBinInt1:         {arg1, false, 0, 1},
	opBinInt2:         {arg2, false, 0, 1},
	opBinPersid:       {argNone, false, 1, 1},
	opBinString:       {argLen4, false, 0, 1},
	opShortBinString:  {argLen1, false, 0, 1},
	opBinUnicode:      {argLen4, false, 0, 1},
	opAppends:         {argNone, true, 1, 1},
	opBinGet:          {arg1, false, 0, 1},
	opLongBinGet:      {arg4, false, 0, 1},
	opEmptyList:       {argNone, false, 0, 1},
	opEmptyTuple:      {argNone, false, 0, 1},
	opEmptyDict:       {argNone, false, 0, 1},
	opBinPut:          {arg1, false, 1, 1},
	opLongBinPut:      {arg4, false, 1, 1},
	opSetItems:        {argNone, true, 1, 1},
	opBinFloat:        {arg8, false, 0, 1},
	opBinBytes:        {argLen4, false, 0, 1},
	opShortBinBytes:   {argLen1, false, 0, 1},
	opProto:           {arg1, false, 0, 0},
	opTuple1:          {argNone, false, 1, 1},
	opTuple2:          {argNone, false, 2, 1},
	opTuple3:          {argNone, false, 3, 1},
	opNewTrue:         {argNone, false, 0, 1},
	opNewFalse:        {argNone, false, 0, 1},
	opLong1:           {argLen1, false, 0, 1},
	opShortBinUnicode: {argLen1, false, 0, 1},
	opStackGlobal:     {argNone, false, 2, 1},
	opMemoize:         {argNone, false, 1, 1},
	opFrame:           {arg8, false, 0, 0},
	opByteArray8:      {argLen8, false, 0, 1},
}

// Bounds on what ogórek is given.
const (
	maxForeign   = 16 << 20 // bytes of a record
	maxOps       = 1 << 20  // opcodes of a record: each may allocate some 100 bytes
	maxScanMarks = 1024     // marks on the stack at a time
	maxDigits    = 1000     // of a number in text: parsing is not linear
	maxLong1     = 127      // bytes: ogórek misreads longer lengths
)

// scan walks the opcodes of one pickle without executing them: what it accepts
// has only opcodes with complete arguments, never takes a value that is not on
// the stack, and ends with exactly one value there. ogórek looks at none of
// this by itself. It returns m.pos behind the pickle.
func (m *machine) scan(nops *int) error {
	depth, floor := 0, 0
	var marks []int
	for m.pos < len(m.data) {
		op := m.data[m.pos]
		if *nops++; *nops > maxOps {
			return m.errorf("more than %d opcodes", maxOps)
		}
		switch op {
		case opStop:
			if depth != 1 || len(marks) != 0 {
				return m.errorf("pickle ends with %d values and %d marks on the stack", depth, len(marks))
			}
			m.pos++
			return nil
		case opMark:
			if len(marks) == maxScanMarks {
				return m.errorf("more than %d marks", maxScanMarks)
			}
			marks = append(marks, floor)
			floor = depth
			m.pos++
			continue
		}
		shape := opShapes[op]
		if shape.toMark {
			if len(marks) == 0 {
				return m.errorf("no mark on the stack")
			}
			depth, floor = floor, marks[len(marks)-1]
			marks = marks[:len(marks)-1]
		}
		if depth -= int(shape.pop); depth < floor {
			return m.errorf("stack underflow")
		}
		depth += int(shape.push)
		if err := m.skip(op, shape.arg); err != nil {
			return err
		}
	}
	return m.errorf("record ends inside a pickle")
}

// skip moves m.pos over an opcode and its argument.
func (m *machine) skip(op byte, arg arg) error {
	rest := m.data[m.pos+1:]
	n := -1
	switch arg {
	case argBad:
		return m.errorf("opcode %#02x is not understood", op)
	case argNone:
		n = 0
	case arg1, arg2, arg4, arg8:
		n = 1 << (arg - arg1)
	case argLen1, argLen4, argLen8:
		n = countedLen(rest, arg)
	case argLine:
		n = bytes.IndexByte(rest, '\n') + 1
	case argLine2:
		n = bytes.IndexByte(rest, '\n') + 1
		if second := bytes.IndexByte(rest[n:], '\n') + 1; n > 0 && second > 0 {
			n += second
		} else {
			n = -1
		}
	}
	if n < 0 || n > len(rest) || n == 0 && arg != argNone {
		return m.truncated()
	}
	if (op == opInt || op == opLong || op == opFloat) && n > maxDigits || op == opLong1 && rest[0] > maxLong1 {
		return m.errorf("a number of %d bytes", n)
	}
	m.pos += 1 + n
	return nil
}

// countedLen returns the length of a counted argument, its count included, or
// -1 if it does not fit into b.
func countedLen(b []byte, arg arg) int {
	var n uint64
	var size int
	switch {
	case arg == argLen1 && len(b) >= 1:
		n, size = uint64(b[0]), 1
	case arg == argLen4 && len(b) >= 4:
		n, size = uint64(binary.LittleEndian.Uint32(b)), 4
	case arg == argLen8 && len(b) >= 8:
		n, size = binary.LittleEndian.Uint64(b), 8
	default:
		return -1
	}
	if n > uint64(len(b)-size) {
		return -1
	}
	return size + int(n)
}
