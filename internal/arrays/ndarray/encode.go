package ndarray

import (
	"fmt"

	"github.com/wcfs/wcfs/internal/zodb/record"
)

// EncodeArray returns the record of a ZBigArray, as wendelin.core on Python 3
// writes it. a.Bytes must have no error.
func EncodeArray(a *Array) []byte {
	var e record.Encoder
	e.Reset(record.ZBigArray)
	e.BeginTuple(2)
	e.BeginDict(4)
	e.Name("_dtype")
	a.DType.encode(&e)
	e.Name("_shape")
	encodeShape(&e, a.Shape)
	e.Name("_order")
	e.Name(string(rune(a.Order)))
	e.Name("_stridev")
	encodeShape(&e, a.Strides())
	e.EndDict(4)
	e.BeginDict(1)
	e.Name("zfile")
	e.Ref(a.File, record.ZBigFile)
	e.EndDict(1)
	e.EndTuple(2)
	return e.Record()
}

// encode appends d as numpy pickles it.
func (d *DType) encode(e *record.Encoder) {
	e.Class(record.Class{Module: "numpy", Name: "dtype"})
	e.BeginTuple(3)
	e.Text(d.pickleCode())
	e.Bool(false) // align
	e.Bool(true)  // copy
	e.EndTuple(3)
	e.Reduce()
	d.encodeState(e)
	e.Build()
}

// pickleCode returns kind and size.
func (d *DType) pickleCode() string {
	size := d.size
	if d.kind == 'U' {
		size /= 4
	}
	return fmt.Sprintf("%c%d", d.kind, size)
}

func (d *DType) encodeState(e *record.Encoder) {
	date := d.kind == 'M' || d.kind == 'm'
	n, version := 8, int64(3)
	if date {
		n, version = 9, 4
	}
	e.BeginTuple(n)
	e.Int(version)
	e.Name(string(rune(d.order)))
	d.encodeSub(e)
	d.encodeFields(e)
	switch d.kind {
	case 'S', 'U', 'V':
		e.Int(d.size)
		e.Int(d.align)
	default: // follow from the code
		e.Int(-1)
		e.Int(-1)
	}
	e.Int(d.flags())
	if date {
		d.encodeUnit(e)
	}
	e.EndTuple(n)
}

func (d *DType) encodeSub(e *record.Encoder) {
	if !d.isSub() {
		e.None()
		return
	}
	e.BeginTuple(2)
	d.base.encode(e)
	encodeShape(e, d.shape)
	e.EndTuple(2)
}

// encodeFields appends the tuple of names and the dict of fields, where titles are
// keys as well.
func (d *DType) encodeFields(e *record.Encoder) {
	if !d.isStruct() {
		e.None()
		e.None()
		return
	}
	keys := len(d.fields)
	e.BeginTuple(len(d.fields))
	for i := range d.fields {
		e.Name(d.fields[i].name)
		if d.fields[i].title != "" {
			keys++
		}
	}
	e.EndTuple(len(d.fields))
	e.BeginDict(keys)
	for i := range d.fields {
		f := &d.fields[i]
		e.Name(f.name)
		f.encode(e)
		if f.title != "" {
			e.Name(f.title)
			f.encode(e)
		}
	}
	e.EndDict(keys)
}

func (f *field) encode(e *record.Encoder) {
	n := 2
	if f.title != "" {
		n = 3
	}
	e.BeginTuple(n)
	f.dtype.encode(e)
	e.Int(f.offset)
	if f.title != "" {
		e.Name(f.title)
	}
	e.EndTuple(n)
}

// encodeUnit appends empty metadata, and the unit of a date.
func (d *DType) encodeUnit(e *record.Encoder) {
	name := d.unit.name
	if name == "" {
		name = "generic"
	}
	e.BeginTuple(2)
	e.BeginDict(0)
	e.EndDict(0)
	e.BeginTuple(4)
	e.Bytes([]byte(name))
	e.Int(d.unit.num)
	e.Int(1) // divisor, of which numpy has no other any more
	e.Int(1) // events, likewise
	e.EndTuple(4)
	e.EndTuple(2)
}

// flags returns what numpy has for types without references to objects.
func (d *DType) flags() int64 {
	switch {
	case d.kind == 'U':
		return flagNeedsInit
	case d.isSub():
		return d.base.flags()
	case !d.isStruct():
		return 0
	}
	flags := int64(flagNeedsAPI)
	for i := range d.fields {
		flags |= d.fields[i].dtype.flags() & flagInherited
	}
	if d.aligned {
		flags |= flagAligned
	}
	return flags
}

func encodeShape(e *record.Encoder, shape []int64) {
	e.BeginTuple(len(shape))
	for _, n := range shape {
		e.Int(n)
	}
	e.EndTuple(len(shape))
}
