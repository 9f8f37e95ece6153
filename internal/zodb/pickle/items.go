package pickle

import (
	"bytes"
	"encoding/binary"
)

const (
	oidLen  = 8
	maxItem = 27 // bytes of a reference, see ref
)

// items executes what the tables of arrays mostly consist of, integers and references,
// as long as they follow each other. It has the effect of their opcodes, one by one. An
// opcode that needs more than a few comparisons is left to the loop over all of them.
func (m *Machine) items() {
	for !m.keep && m.sp+m.arena < len(m.vals) && len(m.data)-m.pos >= maxItem {
		code := m.data[m.pos:][:maxItem]
		v, n := val{kind: KindInt}, 0
		switch code[0] {
		case OpBinInt1:
			v.x, n = uint64(code[1]), 2
		case OpBinInt2:
			v.x, n = uint64(binary.LittleEndian.Uint16(code[1:])), 3
		case OpBinInt:
			v.x, n = uint64(int32(binary.LittleEndian.Uint32(code[1:]))), 5
		case OpShortBinBytes, OpShortBinString:
			v, n = m.ref(code)
		}
		if n == 0 {
			return
		}
		m.pos += n
		m.vals[m.sp] = v
		m.sp++
	}
}

// ref recognises almost every reference: an oid, [PUT], GET of a class, TUPLE2, [PUT],
// BINPERSID. It returns its size, 0 if it is none.
func (m *Machine) ref(code []byte) (ref val, size int) {
	put1, i := memoOp(code, 2+oidLen, OpBinPut, OpLongBinPut)
	get, i := memoOp(code, i, OpBinGet, OpLongBinGet)
	if code[1] != oidLen || get < 0 || get >= m.memoEnd || m.memo[get].kind != KindClass || code[i] != OpTuple2 || get == put1 {
		return val{}, 0
	}
	put2, i := memoOp(code, i+1, OpBinPut, OpLongBinPut)
	if code[i] != OpBinPersid || max(put1, put2) >= len(m.memo) {
		return val{}, 0
	}
	class, oid := m.memo[get].n, uint64(m.pos+2)
	if put1 >= 0 {
		m.setMemo(put1, val{kind: KindBytes, n: oidLen, x: oid})
	}
	if put2 >= 0 {
		m.setMemo(put2, val{kind: KindTuple, form: formPair, n: class, x: oid})
	}
	return val{kind: KindRef, n: class + 1, x: binary.BigEndian.Uint64(code[2:])}, i + 1
}

// usualClass recognises almost every description of a known class: [PROTO], GLOBAL, PUT,
// STOP. It has the effect of executing them, and returns its index, or -1.
func (m *Machine) usualClass() int {
	rest := bytes.TrimPrefix(m.data[m.pos:], []byte{OpProto, 3})
	for i := range m.known {
		c := &m.known[i]
		module := 1 + len(c.Module)
		name := module + 1 + len(c.Name)
		if len(rest) < name+4 || rest[0] != OpGlobal || string(rest[1:module]) != c.Module || rest[module] != '\n' ||
			string(rest[module+1:name]) != c.Name || rest[name] != '\n' || rest[name+1] != OpBinPut || rest[name+3] != OpStop {
			continue
		}
		m.setMemo(int(rest[name+2]), val{kind: KindClass, n: uint32(len(m.classes))})
		m.classes = append(m.classes, *c)
		m.pos = len(m.data) - len(rest) + name + 4
		return i
	}
	return -1
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
