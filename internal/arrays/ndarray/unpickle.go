package ndarray

import (
	"fmt"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
)

// Flags of types, as pickles have them.
const (
	flagNeedsInit = 0x08 // of U
	flagNeedsAPI  = 0x10 // of structures
	flagInherited = 0x1b // what structures take over from their fields
	flagAligned   = 0x80
)

// pickled makes the type that a pickled numpy.dtype is: a call with kind and
// size, followed by a state.
func (b *builder) pickled(v any) (*DType, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.leave()
	obj, ok := v.(*pickle.Object)
	if !ok || !isDType(obj.New) || len(obj.Args) == 0 {
		return nil, &DTypeError{Msg: fmt.Sprintf("expect a pickled numpy.dtype; got %T", v)}
	}
	scalar, err := pickledCode(obj.Args[0])
	if err != nil || obj.State == nil {
		return scalar, err
	}
	s, err := newState(obj.State)
	if err != nil {
		return nil, err
	}
	switch {
	case s.sub != nil && s.names != nil:
		return nil, &DTypeError{Msg: "a pickled type has both a shape and fields"}
	case s.sub != nil:
		return b.pickledSub(s)
	case s.names != nil:
		return b.pickledStruct(s)
	}
	return s.scalar(scalar)
}

// isDType recognises numpy.dtype, and the names it goes by inside of numpy.
func isDType(v any) bool {
	class, ok := v.(record.Class)
	if !ok || class.Name != "dtype" {
		return false
	}
	switch class.Module {
	case "numpy", "numpy.core.multiarray", "numpy.core._multiarray_umath", "numpy._core.multiarray", "numpy._core._multiarray_umath":
		return true
	}
	return false
}

// pickledCode makes the type of the first argument of the call. Size and order
// are those of the state, if there is one.
func pickledCode(v any) (*DType, error) {
	if class, ok := v.(record.Class); ok && (class.Name == "record" || class.Name == "void") {
		return newScalar('V', '|', 0), nil
	}
	code, ok := pickle.Text(v)
	if !ok {
		return nil, &DTypeError{Msg: fmt.Sprintf("expect kind and size; got %T", v)}
	}
	return parseScalar(code)
}

// state is what numpy.dtype.__setstate__ takes.
type state struct {
	order  byte
	sub    any // None or (dtype, shape)
	names  any // None or tuple
	fields any // None or dict
	size   int64
	flags  int64
	meta   any // None, a dict, or for dates (dict, (unit, number, 1, 1))
}

// newState checks the form of a state. The versions of it that numpy 1.0 and later
// have written differ in how many items the tuple has.
func newState(v any) (*state, error) {
	t, ok := v.(pickle.Tuple)
	if !ok || len(t) < 7 || len(t) > 9 {
		return nil, &DTypeError{Msg: fmt.Sprintf("expect a state of 7 to 9 items; got %T", v)}
	}
	version, ok1 := pickle.Int(t[0])
	order, ok2 := pickle.Text(t[1])
	size, ok3 := pickle.Int(t[5])
	if !ok1 || !ok2 || !ok3 || len(order) != 1 || version < 0 || version > 4 {
		return nil, &DTypeError{Msg: "a state is none of those that numpy writes"}
	}
	s := &state{order: order[0], sub: t[2], names: t[3], fields: t[4], size: size}
	if len(t) >= 8 {
		s.flags, _ = pickle.Int(t[7])
	}
	if len(t) == 9 {
		s.meta = t[8]
	}
	return s, nil
}

// scalar applies s to the scalar of the call.
func (s *state) scalar(d *DType) (*DType, error) {
	flexible := d.kind == 'S' || d.kind == 'U' || d.kind == 'V'
	if s.size != d.size && (flexible || s.size != -1) {
		return nil, &DTypeError{Text: d.code(), Msg: fmt.Sprintf("its state says that it has %d bytes", s.size)}
	}
	d = newScalar(d.kind, s.order, d.size)
	if d.kind != 'M' && d.kind != 'm' || s.meta == nil {
		return d, nil
	}
	meta, ok := s.meta.(pickle.Tuple)
	if !ok || len(meta) != 2 {
		return nil, &DTypeError{Text: d.code(), Msg: "expect a unit of time in its state"}
	}
	return d, d.pickledUnit(meta[1])
}

// pickledUnit sets the unit of a date that is being made: (unit, number), and
// maybe a divisor and a number of events, which are relics.
func (d *DType) pickledUnit(v any) error {
	t, ok := v.(pickle.Tuple)
	if !ok || len(t) < 2 || len(t) > 4 {
		return &DTypeError{Text: d.code(), Msg: "expect unit and number in its state"}
	}
	name, ok1 := pickle.Text(t[0])
	num, ok2 := pickle.Int(t[1])
	for _, relic := range t[2:] {
		if n, ok := pickle.Int(relic); !ok || n != 1 {
			return &DTypeError{Text: d.code(), Msg: "its unit has divisors or events, which numpy does not have any more"}
		}
	}
	if !ok1 || !ok2 {
		return &DTypeError{Text: d.code(), Msg: "expect unit and number in its state"}
	}
	if err := d.setUnit(name, num); err != nil {
		return &DTypeError{Text: d.code(), Msg: err.Error()}
	}
	return nil
}

func (b *builder) pickledSub(s *state) (*DType, error) {
	pair, ok := s.sub.(pickle.Tuple)
	if !ok || len(pair) != 2 {
		return nil, &DTypeError{Msg: "expect type and shape of a sub-array"}
	}
	base, err := b.pickled(pair[0])
	if err != nil {
		return nil, err
	}
	shape, err := pickledShape(pair[1])
	if err != nil {
		return nil, &DTypeError{Msg: "the shape of a sub-array: " + err.Error()}
	}
	d, err := newSub(base, shape)
	if err == nil && d.size != s.size {
		err = &DTypeError{Text: clip(d.String()), Msg: fmt.Sprintf("its state says that it has %d bytes", s.size)}
	}
	return d, err
}

func (b *builder) pickledStruct(s *state) (*DType, error) {
	names, ok1 := s.names.(pickle.Tuple)
	dict, ok2 := s.fields.(*pickle.Dict)
	if !ok1 || !ok2 {
		return nil, &DTypeError{Msg: fmt.Sprintf("expect names and fields of a structure; got %T and %T", s.names, s.fields)}
	}
	switch {
	case b.fields+len(names) > maxFields:
		return nil, &DTypeError{Msg: fmt.Sprintf("more than %d fields", maxFields)}
	case len(dict.Items) > 2*len(names): // name and title
		return nil, &DTypeError{Msg: fmt.Sprintf("%d names, but %d fields", len(names), len(dict.Items))}
	}
	byName := make(map[string]any)
	for _, item := range dict.Items {
		if name, ok := pickle.Text(item.Key); ok {
			byName[name] = item.Value
		}
	}
	fields := make([]field, len(names))
	for i := range fields {
		name, ok := pickle.Text(names[i])
		if !ok {
			return nil, &DTypeError{Msg: fmt.Sprintf("the name of field %d is no text", i)}
		}
		if err := b.pickledField(&fields[i], name, byName[name]); err != nil {
			return nil, inField(name, err)
		}
	}
	return newStruct(fields, s.size, s.flags&flagAligned != 0)
}

// pickledField makes a field of (dtype, offset) or (dtype, offset, title).
func (b *builder) pickledField(f *field, name string, v any) (err error) {
	t, ok := v.(pickle.Tuple)
	if !ok || len(t) < 2 || len(t) > 3 {
		return &DTypeError{Msg: "expect type, offset and maybe title"}
	}
	f.name = name
	if f.offset, ok = pickle.Int(t[1]); !ok {
		return &DTypeError{Msg: "the offset is no integer"}
	}
	if len(t) == 3 && t[2] != nil {
		if f.title, ok = pickle.Text(t[2]); !ok {
			return &DTypeError{Msg: "the title is no text"}
		}
	}
	if err := b.count(len(f.name) + len(f.title)); err != nil {
		return err
	}
	f.dtype, err = b.pickled(t[0])
	return err
}

// pickledShape reads a tuple, or a list, of integers. A bare integer is a shape of
// one dimension.
func pickledShape(v any) ([]int64, error) {
	var items []any
	switch x := v.(type) {
	case pickle.Tuple:
		items = x
	case *pickle.List:
		items = x.Items
	default:
		items = []any{v}
	}
	if len(items) > maxDims {
		return nil, fmt.Errorf("%d dimensions; at most %d are possible", len(items), maxDims)
	}
	shape := make([]int64, len(items))
	for i, item := range items {
		n, ok := pickledInt(item)
		if !ok {
			return nil, fmt.Errorf("expect integers of 64 bits; got %T", item)
		}
		shape[i] = n
	}
	return shape, nil
}

// pickledInt reads an integer, which may be one of numpy: those are pickled as a
// call with their type and their bytes.
func pickledInt(v any) (int64, bool) {
	obj, ok := v.(*pickle.Object)
	if !ok {
		return pickle.Int(v)
	}
	class, _ := obj.New.(record.Class)
	if class.Name != "scalar" || (class.Module != "numpy.core.multiarray" && class.Module != "numpy._core.multiarray") || len(obj.Args) != 2 {
		return 0, false
	}
	d, err := new(builder).pickled(obj.Args[0])
	data, ok := obj.Args[1].(pickle.Bytes)
	if err != nil || !ok || (d.kind != 'i' && d.kind != 'u') || int64(len(data)) != d.size {
		return 0, false
	}
	return d.int(string(data))
}

// int reads an integer of type d. ok is false if 64 bits with sign cannot hold it.
func (d *DType) int(data string) (n int64, ok bool) {
	var u uint64
	for i := range len(data) {
		c := data[i]
		if d.order != '>' {
			c = data[len(data)-1-i]
		}
		u = u<<8 | uint64(c)
	}
	n = int64(u)
	if d.kind == 'i' {
		unused := 64 - 8*len(data)
		return n << unused >> unused, true
	}
	return n, n >= 0
}
