package record

import (
	"encoding/binary"
	"math"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

const oidLen = 8

// Encoder builds a record byte for byte as ZODB on Python 3 does: with pickle
// protocol 3, everything that is not a number or None put into the memo, and
// oids, classes and names taken from there when they come again.
//
// The zero Encoder must be Reset before use. It is used by one goroutine, and
// for one record at a time:
//
//	e.Reset(LOBucket)
//	e.BeginTuple(1)
//	e.BeginTuple(2)
//	e.Int(5)
//	e.Ref(oid, ZBlk0)
//	e.EndTuple(2)
//	e.EndTuple(1)
//	data := e.Record()
type Encoder struct {
	buf     []byte
	nmemo   uint32
	classes map[Class]uint32 // memo index
	oids    map[zodb.Oid]uint32
	names   map[string]uint32
}

// Reset begins a record of an object of that class. A result of Record from
// before stays valid.
func (e *Encoder) Reset(class Class) {
	*e = Encoder{
		classes: make(map[Class]uint32),
		oids:    make(map[zodb.Oid]uint32),
		names:   make(map[string]uint32),
	}
	e.buf = append(e.buf, pickle.OpProto, 3)
	e.Class(class)
	e.buf = append(e.buf, pickle.OpStop, pickle.OpProto, 3)
}

// Record ends the record, whose state must be complete, and returns it.
func (e *Encoder) Record() []byte { return append(e.buf, pickle.OpStop) }

// None appends None.
func (e *Encoder) None() { e.buf = append(e.buf, pickle.OpNone) }

// Bool appends a boolean.
func (e *Encoder) Bool(b bool) {
	if b {
		e.buf = append(e.buf, pickle.OpNewTrue)
	} else {
		e.buf = append(e.buf, pickle.OpNewFalse)
	}
}

// Int appends an integer.
func (e *Encoder) Int(x int64) { e.buf = pickle.AppendInt(e.buf, x) }

// Bytes appends a byte string of less than 4 GiB.
func (e *Encoder) Bytes(b []byte) {
	e.buf = pickle.AppendBytes(e.buf, b)
	e.put()
}

// Text appends a unicode string, given in UTF-8.
func (e *Encoder) Text(s string) {
	e.buf = pickle.AppendText(e.buf, s)
	e.put()
}

// Name appends text that Python has only once, however often it comes: names of
// attributes, and text of one character.
func (e *Encoder) Name(s string) {
	if index, ok := e.names[s]; ok {
		e.get(index)
		return
	}
	e.names[s] = e.nmemo
	e.Text(s)
}

// Class appends a class as a value.
func (e *Encoder) Class(c Class) {
	if index, ok := e.classes[c]; ok {
		e.get(index)
		return
	}
	e.buf = append(e.buf, pickle.OpGlobal)
	e.buf = append(append(e.buf, c.Module...), '\n')
	e.buf = append(append(e.buf, c.Name...), '\n')
	e.classes[c] = e.put()
}

// Ref appends a reference to the object oid of that class.
func (e *Encoder) Ref(oid zodb.Oid, class Class) {
	if index, ok := e.oids[oid]; ok {
		e.get(index)
	} else {
		e.buf = binary.BigEndian.AppendUint64(append(e.buf, pickle.OpShortBinBytes, oidLen), uint64(oid))
		e.oids[oid] = e.put()
	}
	e.Class(class)
	e.EndTuple(2)
	e.buf = append(e.buf, pickle.OpBinPersid)
}

// BeginTuple begins a tuple of n items, which must follow.
func (e *Encoder) BeginTuple(n int) {
	if n > 3 {
		e.buf = append(e.buf, pickle.OpMark)
	}
}

// EndTuple ends the tuple that was begun with the same n.
func (e *Encoder) EndTuple(n int) {
	switch {
	case n == 0: // there is only one empty tuple: Python does not put it into the memo
		e.buf = append(e.buf, pickle.OpEmptyTuple)
		return
	case n <= 3:
		e.buf = append(e.buf, pickle.OpTuple1-1+byte(n))
	default:
		e.buf = append(e.buf, pickle.OpTuple)
	}
	e.put()
}

// BeginDict begins a dict of n <= 1000 items; n keys and values must follow.
func (e *Encoder) BeginDict(n int) {
	e.buf = append(e.buf, pickle.OpEmptyDict)
	e.put()
	if n > 1 {
		e.buf = append(e.buf, pickle.OpMark)
	}
}

// EndDict ends the dict that was begun with the same n.
func (e *Encoder) EndDict(n int) {
	switch {
	case n > 1:
		e.buf = append(e.buf, pickle.OpSetItems)
	case n == 1:
		e.buf = append(e.buf, pickle.OpSetItem)
	}
}

// Reduce calls what was appended last but one, a class or function, with the
// tuple that was appended last. The result takes their place.
func (e *Encoder) Reduce() {
	e.buf = append(e.buf, pickle.OpReduce)
	e.put()
}

// Build sets the state of what was appended last but one to what was appended
// last, and leaves only the former.
func (e *Encoder) Build() { e.buf = append(e.buf, pickle.OpBuild) }

// put puts what was appended last into the memo and returns its index.
func (e *Encoder) put() (index uint32) {
	index = e.nmemo
	e.nmemo++
	if index <= math.MaxUint8 {
		e.buf = append(e.buf, pickle.OpBinPut, byte(index))
	} else {
		e.buf = binary.LittleEndian.AppendUint32(append(e.buf, pickle.OpLongBinPut), index)
	}
	return index
}

func (e *Encoder) get(index uint32) {
	if index <= math.MaxUint8 {
		e.buf = append(e.buf, pickle.OpBinGet, byte(index))
	} else {
		e.buf = binary.LittleEndian.AppendUint32(append(e.buf, pickle.OpLongBinGet), index)
	}
}
