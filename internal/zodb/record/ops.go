package record

import (
	"bytes"
	"encoding/binary"
)

// ---- references ----

// persid makes a reference from the pair (oid, class) on top of the stack.
// Other forms are rare.
func (m *machine) persid() error {
	if m.sp <= m.floor {
		return m.errorf("stack underflow")
	}
	top := &m.vals[m.sp-1]
	if top.form != formPair {
		return errForeign
	}
	*top = m.refOf(*top)
	return nil
}

func (m *machine) refOf(pair val) val {
	return val{kind: KindRef, n: pair.n + 1, x: uint64(m.oidAt(pair.x))}
}

// shortBytes pushes a byte string of less than 256 bytes. Most of them are the
// oids of references, which are then taken as a whole.
func (m *machine) shortBytes() error {
	if rest := m.data[m.pos:]; len(rest) >= 1+oidLen+maxRefTail && rest[0] == oidLen {
		if done, err := m.refTail(uint64(m.pos + 1)); done {
			return err
		}
	}
	return m.counted(KindBytes, 1)
}

// refTail recognises what follows an oid in almost every reference: [PUT] GET
// of a class, TUPLE2, [PUT], BINPERSID. It has the effect of executing them one
// by one, or none if it returns false.
func (m *machine) refTail(oid uint64) (done bool, _ error) {
	tail := m.data[oid+oidLen:][:maxRefTail]
	put1, i := memoOp(tail, 0, opBinPut, opLongBinPut)
	get, i := memoOp(tail, i, opBinGet, opLongBinGet)
	if get < 0 || get >= m.memoEnd || m.memo[get].kind != KindClass || tail[i] != opTuple2 || get == put1 {
		return false, nil
	}
	put2, i := memoOp(tail, i+1, opBinPut, opLongBinPut)
	if tail[i] != opBinPersid {
		return false, nil
	}
	pair := val{kind: KindTuple, form: formPair, n: m.memo[get].n, x: oid}
	m.pos += 1 + oidLen + i + 1
	if put1 >= 0 {
		if err := m.setMemo(uint64(put1), val{kind: KindBytes, n: oidLen, x: oid}); err != nil {
			return true, err
		}
	}
	if put2 >= 0 {
		if err := m.setMemo(uint64(put2), pair); err != nil {
			return true, err
		}
	}
	return true, m.push(m.refOf(pair))
}

// memoOp reads the memo opcode at b[i:], which is short or long, and returns its
// index, or -1 if there is none, and the position behind.
func memoOp(b []byte, i int, short, long byte) (index, end int) {
	switch b[i] {
	case short:
		return int(b[i+1]), i + 2
	case long:
		return int(binary.LittleEndian.Uint32(b[i+1:])), i + 5
	}
	return -1, i
}

// ---- arguments ----

// uint reads a little-endian number of n <= 8 bytes.
func (m *machine) uint(n int) (x uint64, ok bool) {
	b := m.data[m.pos:]
	if len(b) < n {
		return 0, false
	}
	m.pos += n
	switch n {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(binary.LittleEndian.Uint16(b)), true
	case 4:
		return uint64(binary.LittleEndian.Uint32(b)), true
	}
	for i, c := range b[:n] {
		x |= uint64(c) << (8 * i)
	}
	return x, true
}

func (m *machine) truncated() error { return m.errorf("record ends inside an opcode") }

// counted pushes a string whose length is told by the next size bytes.
func (m *machine) counted(kind Kind, size int) error {
	n, ok := m.uint(size)
	if !ok {
		return m.truncated()
	}
	if n > uint64(len(m.data)-m.pos) {
		return m.errorf("a string of %d bytes, but only %d are left", n, len(m.data)-m.pos)
	}
	v := val{kind: kind, n: uint32(n), x: uint64(m.pos)}
	m.pos += int(n)
	return m.push(v)
}

// binString pushes a byte string of Python 2, whose length is signed.
func (m *machine) binString() error {
	if rest := m.data[m.pos:]; len(rest) >= 4 && rest[3] >= 0x80 {
		return m.errorf("a string of negative length")
	}
	return m.counted(KindBytes, 4)
}

// binInt pushes an integer of n bytes: only the one of 4 bytes is signed.
func (m *machine) binInt(n int) error {
	x, ok := m.uint(n)
	if !ok {
		return m.truncated()
	}
	if n == 4 {
		x = uint64(int64(int32(x)))
	}
	return m.push(val{kind: KindInt, x: x})
}

// long pushes a two's complement integer of n bytes.
func (m *machine) long(n uint64, ok bool) error {
	if !ok || n > uint64(len(m.data)-m.pos) {
		return m.truncated()
	}
	if n > maxLongBytes {
		return errForeign
	}
	x, _ := m.uint(int(n))
	shift := 64 - 8*uint(n)
	return m.push(val{kind: KindInt, x: uint64(int64(x<<shift) >> shift)})
}

// line reads up to a newline.
func (m *machine) line() (line []byte, ok bool) {
	n := bytes.IndexByte(m.data[m.pos:], '\n')
	if n < 0 {
		return nil, false
	}
	line = m.data[m.pos : m.pos+n]
	m.pos += n + 1
	return line, true
}

// textInt pushes an integer written in decimal. Spellings that Python does not
// write are left to ogórek, as are 00 and 01, which are booleans.
func (m *machine) textInt(long bool) error {
	line, ok := m.line()
	if !ok {
		return m.truncated()
	}
	if long {
		if line, ok = bytes.CutSuffix(line, []byte("L")); !ok {
			return errForeign
		}
	}
	digits, negative := bytes.CutPrefix(line, []byte("-"))
	x, ok := decimal(digits)
	if !ok {
		return errForeign
	}
	if negative {
		x = -x
	}
	return m.push(val{kind: KindInt, x: x})
}

func (m *machine) textMemo(put bool) error {
	line, ok := m.line()
	if !ok {
		return m.truncated()
	}
	index, ok := decimal(line)
	if !ok {
		return errForeign
	}
	if put {
		return m.put(index, true)
	}
	return m.get(index, true)
}

// decimal reads a number of at most 18 digits without superfluous zeros.
func decimal(digits []byte) (x uint64, ok bool) {
	if len(digits) == 0 || len(digits) > 18 || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		x = 10*x + uint64(d-'0')
	}
	return x, true
}

// global pushes a class.
func (m *machine) global() error {
	module, ok1 := m.line()
	name, ok2 := m.line()
	if !ok1 || !ok2 {
		return m.truncated()
	}
	i := m.class(module, name)
	if i < 0 {
		return errForeign
	}
	return m.push(val{kind: KindClass, n: uint32(i)})
}
