package ndarray

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// Order is the order of the items of an array.
type Order byte

const (
	RowMajor    Order = 'C' // the last index varies fastest
	ColumnMajor Order = 'F' // the first index varies fastest
)

// DType is the type of the items of an array. It is immutable; the zero DType
// is not valid.
type DType struct {
	kind  byte // as numpy has it: b i u f c S U V M m
	order byte // '<', '>', or '|' where there is no byte order
	size  int64
	align int64 // what numpy says about alignment; pickles contain it
	unit  unit  // of M and m

	// A sub-array has base and shape, a structure fields. The kind of both is V.
	base  *DType
	shape []int64

	fields  []field // not nil for a structure
	aligned bool    // built with align=True; this does not tell types apart
}

// unit is what a date or a duration counts.
type unit struct {
	name string // "" is generic
	num  int64  // of such units; 1 for generic
}

type field struct {
	name   string
	title  string // a second name; "" if none
	offset int64
	dtype  *DType
}

// Limits. NumPy has the same ones for items and dimensions.
const (
	maxItem   = math.MaxInt32 // bytes
	maxDims   = 64
	maxFields = 1 << 16 // of one type, nested ones counted each time
	maxText   = 1 << 20 // bytes of all names of one type
	maxNested = 32      // structures and sub-arrays in each other
)

// Size returns the size of an item in bytes.
func (d *DType) Size() int64 { return d.size }

// Equal reports whether both types are the same, as numpy does: kind, byte order,
// size, and names, titles, offsets and types of fields. Whether a type was built
// with align=True does not count.
func (d *DType) Equal(o *DType) bool {
	switch {
	case d == o:
		return true
	case d.kind != o.kind, d.order != o.order, d.size != o.size, d.unit != o.unit,
		d.isSub() != o.isSub(), d.isStruct() != o.isStruct():
		return false
	case d.isSub():
		return slices.Equal(d.shape, o.shape) && d.base.Equal(o.base)
	}
	return slices.EqualFunc(d.fields, o.fields, func(a, b field) bool {
		return a.name == b.name && a.title == b.title && a.offset == b.offset && a.dtype.Equal(b.dtype)
	})
}

func (d *DType) isSub() bool    { return d.base != nil }
func (d *DType) isStruct() bool { return d.fields != nil }

// builder makes one type, and bounds what it consists of.
type builder struct {
	fields int // made so far
	text   int // bytes of their names
	depth  int
}

// enter goes into a structure or a sub-array; leave must follow if it succeeds.
func (b *builder) enter() error {
	if b.depth++; b.depth > maxNested {
		return &DTypeError{Msg: fmt.Sprintf("structures and sub-arrays are nested more than %d times", maxNested)}
	}
	return nil
}

func (b *builder) leave() { b.depth-- }

// count takes note of a field with that many bytes of name and title. It must be
// called before the type of the field is made.
func (b *builder) count(text int) error {
	b.fields++
	b.text += text
	switch {
	case b.fields > maxFields:
		return &DTypeError{Msg: fmt.Sprintf("more than %d fields", maxFields)}
	case b.text > maxText:
		return &DTypeError{Msg: fmt.Sprintf("names of more than %d bytes together", maxText)}
	}
	return nil
}

// newSub returns the type of arrays of base.
func newSub(base *DType, shape []int64) (*DType, error) {
	if len(shape) == 0 {
		return base, nil // as numpy has it
	}
	size, err := arrayBytes(base.size, shape)
	if err != nil {
		return nil, &DTypeError{Msg: "a sub-array of " + err.Error()}
	}
	if size > maxItem {
		return nil, &DTypeError{Msg: fmt.Sprintf("a sub-array of shape %s has more than %d bytes", clip(ShapeText(shape)), maxItem)}
	}
	return &DType{kind: 'V', order: '|', size: size, align: base.align, base: base, shape: slices.Clone(shape)}, nil
}

// newStruct returns a structure, of which it keeps fields. size is that of an item.
func newStruct(fields []field, size int64, aligned bool) (*DType, error) {
	if size < 0 || size > maxItem {
		return nil, &DTypeError{Msg: fmt.Sprintf("a structure of %d bytes; at most %d are possible", size, maxItem)}
	}
	seen := make(map[string]bool, len(fields))
	align := int64(1)
	for i := range fields {
		f := &fields[i]
		if f.title == f.name {
			f.title = ""
		}
		if err := f.check(size, seen); err != nil {
			return nil, err
		}
		if aligned {
			align = max(align, f.dtype.align)
		}
	}
	if fields == nil {
		fields = []field{}
	}
	return &DType{kind: 'V', order: '|', size: size, align: align, fields: fields, aligned: aligned}, nil
}

// check checks f against the size of its structure and the names seen before.
func (f *field) check(size int64, seen map[string]bool) error {
	switch {
	case f.name == "":
		return &DTypeError{Msg: "a field has no name"}
	case !utf8.ValidString(f.name) || !utf8.ValidString(f.title):
		return &DTypeError{Msg: fmt.Sprintf("the name of field %q is no valid text", clip(f.name))}
	case seen[f.name] || f.title != "" && seen[f.title]:
		return &DTypeError{Msg: fmt.Sprintf("field %q occurs twice", clip(f.name))}
	case f.offset < 0 || f.offset > size-f.dtype.size:
		return &DTypeError{Msg: fmt.Sprintf("field %q, %d bytes at offset %d, is not inside the %d bytes of its structure",
			clip(f.name), f.dtype.size, f.offset, size)}
	}
	seen[f.name] = true
	if f.title != "" {
		seen[f.title] = true
	}
	return nil
}

// inField puts the name of a field in front of the path that an error names.
func inField(name string, err error) error {
	path := func(rest string) string {
		if rest == "" {
			return clip(name)
		}
		return clip(name + "." + rest)
	}
	switch e := err.(type) {
	case *DTypeError:
		return &DTypeError{path(e.Field), e.Text, e.Msg}
	case *ObjectDTypeError:
		return &ObjectDTypeError{path(e.Field)}
	case *LayoutError:
		return &LayoutError{path(e.Field), e.Msg}
	}
	return err
}
