package pickle

import "math/big"

// opStop ends a pickle; it is the only opcode that no step is for.
const opStop = '.'

const maxProto = 5

// steps has what each opcode does. The position is behind the opcode then.
//
// EXT1, EXT2 and EXT4 need a registry of the writer, and NEXT_BUFFER and
// READONLY_BUFFER data outside of the pickle: they are not known here.
var steps = [256]func(*decoder) error{
	'(': (*decoder).mark,
	'0': (*decoder).drop,
	'1': func(d *decoder) error { _, err := d.popMark(); return err },
	'2': (*decoder).dup,

	'N':  func(d *decoder) error { return d.push(nil) },
	0x88: func(d *decoder) error { return d.push(true) },
	0x89: func(d *decoder) error { return d.push(false) },
	'I':  (*decoder).textInt,
	'L':  (*decoder).textLong,
	'F':  (*decoder).textFloat,
	'K':  func(d *decoder) error { return d.binInt(1) },
	'M':  func(d *decoder) error { return d.binInt(2) },
	'J':  func(d *decoder) error { return d.binInt(4) },
	0x8a: func(d *decoder) error { return d.long(1) }, // LONG1
	0x8b: func(d *decoder) error { return d.long(4) }, // LONG4
	'G':  (*decoder).binFloat,

	'S':  (*decoder).textString,
	'T':  func(d *decoder) error { return d.bytes(4) },
	'U':  func(d *decoder) error { return d.bytes(1) },
	'B':  func(d *decoder) error { return d.bytes(4) },
	'C':  func(d *decoder) error { return d.bytes(1) },
	0x8e: func(d *decoder) error { return d.bytes(8) }, // BINBYTES8
	0x96: (*decoder).byteArray,
	'V':  (*decoder).textUnicode,
	'X':  func(d *decoder) error { return d.unicode(4) },
	0x8c: func(d *decoder) error { return d.unicode(1) }, // SHORT_BINUNICODE
	0x8d: func(d *decoder) error { return d.unicode(8) }, // BINUNICODE8

	')':  func(d *decoder) error { return d.tuple(nil) },
	't':  (*decoder).markTuple,
	0x85: func(d *decoder) error { return d.shortTuple(1) },
	0x86: func(d *decoder) error { return d.shortTuple(2) },
	0x87: func(d *decoder) error { return d.shortTuple(3) },
	']':  func(d *decoder) error { return d.list(nil) },
	'l':  (*decoder).markList,
	'a':  (*decoder).appendOne,
	'e':  (*decoder).appendMany,
	'}':  func(d *decoder) error { return d.dict(nil) },
	'd':  (*decoder).markDict,
	's':  (*decoder).setOne,
	'u':  (*decoder).setMany,
	0x8f: func(d *decoder) error { return d.set("set", nil) }, // EMPTY_SET
	0x90: (*decoder).appendMany,                               // ADDITEMS
	0x91: (*decoder).frozenSet,

	'p':  func(d *decoder) error { return d.textMemo(d.put) },
	'q':  func(d *decoder) error { return d.binMemo(1, d.put) },
	'r':  func(d *decoder) error { return d.binMemo(4, d.put) },
	0x94: (*decoder).memoize,
	'g':  func(d *decoder) error { return d.textMemo(d.get) },
	'h':  func(d *decoder) error { return d.binMemo(1, d.get) },
	'j':  func(d *decoder) error { return d.binMemo(4, d.get) },

	'c':  (*decoder).global,
	0x93: (*decoder).stackGlobal,
	'R':  (*decoder).reduce,
	'b':  (*decoder).build,
	'i':  (*decoder).inst,
	'o':  (*decoder).obj,
	0x81: func(d *decoder) error { return d.newObj(false) }, // NEWOBJ
	0x92: func(d *decoder) error { return d.newObj(true) },  // NEWOBJ_EX
	'P':  (*decoder).textPersid,
	'Q':  (*decoder).binPersid,

	0x80: (*decoder).proto,
	0x95: func(d *decoder) error { _, err := d.next(8); return err }, // FRAME
}

func (d *decoder) proto() error {
	v, err := d.uint(1)
	if err == nil && v > maxProto {
		err = d.errorf("pickle protocol %d is not known", v)
	}
	return err
}

func (d *decoder) binMemo(size uint64, do func(index uint64) error) error {
	index, err := d.uint(size)
	if err != nil {
		return err
	}
	return do(index)
}

func (d *decoder) pushInt(i int64) error {
	d.charge(wordSize)
	return d.push(i)
}

func (d *decoder) pushBig(i *big.Int) error {
	if i.IsInt64() {
		return d.pushInt(i.Int64())
	}
	d.charge(sliceSize + wordSize + i.BitLen()/8)
	return d.push(i)
}
