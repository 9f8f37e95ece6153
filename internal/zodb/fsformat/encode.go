package fsformat

import (
	"encoding/binary"
	"fmt"
	"math"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Pickle opcodes of a saved index.
const (
	opProto, opStop, opNone      = 0x80, '.', 'N'
	opInt1, opInt2, opInt4       = 'K', 'M', 'J'
	opLong1, opIntText           = 0x8a, 'I'
	opShortBytes, opBytes, opTwo = 'C', 'B', 0x86
	opShortString, opString      = 'U', 'T'
	opMark, opTuple              = '(', 't'
)

// indexPickler makes the pickles of a saved index.
type indexPickler struct {
	python2 bool
	b       []byte
}

// Encode returns what FileStorage saves of an index: pickles, without memo, of the
// position, of a pair of bytes for each 2^16 oids, and of None. They are of protocol 1 for
// Python 2, and else of protocol 3.
func (x *Index) Encode(python2 bool) []byte {
	p := &indexPickler{python2: python2}
	p.begin()
	p.int(x.TopPos)
	p.end()
	var prefix zodb.Oid
	var oids, positions []byte
	finish := func() {
		if len(oids) == 0 {
			return
		}
		p.pair(binary.BigEndian.AppendUint64(nil, uint64(prefix<<16))[:6], append(oids, positions...))
		oids, positions = oids[:0], positions[:0]
	}
	for oid, pos := range x.All() {
		if oid>>16 != prefix {
			finish()
			prefix = oid >> 16
		}
		oids = binary.BigEndian.AppendUint16(oids, uint16(oid))
		positions = append(positions, binary.BigEndian.AppendUint64(nil, uint64(pos))[2:]...)
	}
	finish()
	p.begin()
	p.b = append(p.b, opNone)
	p.end()
	return p.b
}

func (p *indexPickler) begin() {
	if !p.python2 {
		p.b = append(p.b, opProto, 3)
	}
}

func (p *indexPickler) end() { p.b = append(p.b, opStop) }

func (p *indexPickler) pair(prefix, bucket []byte) {
	p.begin()
	if p.python2 {
		p.b = append(p.b, opMark)
	}
	p.bytes(prefix)
	p.bytes(bucket)
	if p.python2 {
		p.b = append(p.b, opTuple)
	} else {
		p.b = append(p.b, opTwo)
	}
	p.end()
}

// int appends an integer >= 0.
func (p *indexPickler) int(x int64) {
	le := binary.LittleEndian
	switch {
	case x <= math.MaxUint8:
		p.b = append(p.b, opInt1, byte(x))
	case x <= math.MaxUint16:
		p.b = le.AppendUint16(append(p.b, opInt2), uint16(x))
	case x <= math.MaxInt32:
		p.b = le.AppendUint32(append(p.b, opInt4), uint32(x))
	case p.python2:
		p.b = fmt.Appendf(p.b, "%c%d\n", opIntText, x)
	default:
		n := 5 // bytes that hold x and a bit for its sign
		for x>>(8*n-1) != 0 {
			n++
		}
		p.b = append(append(p.b, opLong1, byte(n)), le.AppendUint64(nil, uint64(x))[:n]...)
	}
}

func (p *indexPickler) bytes(data []byte) {
	short, long := byte(opShortBytes), byte(opBytes)
	if p.python2 {
		short, long = opShortString, opString
	}
	if len(data) <= math.MaxUint8 {
		p.b = append(p.b, short, byte(len(data)))
	} else {
		p.b = binary.LittleEndian.AppendUint32(append(p.b, long), uint32(len(data)))
	}
	p.b = append(p.b, data...)
}
