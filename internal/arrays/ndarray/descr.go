package ndarray

import (
	"fmt"
	"strings"
)

// ParseDType parses a type as numpy spells it: "<f8", "int32", "|S4",
// "M8[25s]", and the literals that String returns for structures and sub-arrays.
// The error is a *DTypeError or an *ObjectDTypeError.
func ParseDType(s string) (*DType, error) {
	if len(s) > maxText {
		return nil, &DTypeError{Text: clip(s), Msg: fmt.Sprintf("the text has more than %d bytes", maxText)}
	}
	s = strings.TrimSpace(s)
	if s == "" || strings.IndexByte("[({'\"", s[0]) < 0 {
		return parseScalar(s)
	}
	lit, err := parseLiteral(s)
	if err != nil {
		return nil, &DTypeError{Text: clip(s), Msg: err.Error()}
	}
	return new(builder).literal(lit)
}

// literal makes the type that a literal describes.
func (b *builder) literal(lit any) (*DType, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.leave()
	switch x := lit.(type) {
	case string:
		return parseScalar(x)
	case tupleLit:
		if len(x) == 2 {
			return b.sub(x[0], x[1])
		}
	case listLit:
		return b.descr(x)
	case dictLit:
		return b.dict(x)
	}
	return nil, &DTypeError{Msg: "expect a string, a list of fields, or a tuple of a type and a shape"}
}

// sub makes a sub-array.
func (b *builder) sub(base, shape any) (*DType, error) {
	d, err := b.literal(base)
	if err != nil {
		return nil, err
	}
	if n, ok := shape.(int64); ok {
		return newSub(d, []int64{n})
	}
	dims, err := shapeOf(shape)
	if err != nil {
		return nil, err
	}
	return newSub(d, dims)
}

// shapeOf reads a tuple of integers.
func shapeOf(lit any) ([]int64, error) {
	items, ok := lit.(tupleLit)
	if !ok {
		return nil, &DTypeError{Msg: "a shape is no tuple of integers"}
	}
	if len(items) > maxDims {
		return nil, &DTypeError{Msg: fmt.Sprintf("%d dimensions; at most %d are possible", len(items), maxDims)}
	}
	shape := make([]int64, len(items))
	for i, item := range items {
		if shape[i], ok = item.(int64); !ok {
			return nil, &DTypeError{Msg: "a shape is no tuple of integers"}
		}
	}
	return shape, nil
}

// descr makes a structure from the list of its fields, which include the padding.
func (b *builder) descr(items []any) (*DType, error) {
	fields := make([]field, 0, len(items))
	end := int64(0)
	for _, item := range items {
		f, err := b.descrField(item)
		if err != nil {
			return nil, err
		}
		f.offset = end
		if end += f.dtype.size; end > maxItem {
			return newStruct(nil, end, false) // says that this is too big
		}
		pad := f.name == "" && f.dtype.kind == 'V' && !f.dtype.isStruct()
		if !pad {
			fields = append(fields, f)
		}
	}
	return newStruct(fields, end, false)
}

// descrField makes one field: (name, type) or (name, type, shape), where name may
// be (title, name).
func (b *builder) descrField(item any) (f field, err error) {
	tuple, ok := item.(tupleLit)
	if !ok || len(tuple) < 2 || len(tuple) > 3 {
		return f, &DTypeError{Msg: "a field is no tuple of name, type and maybe shape"}
	}
	name := tuple[0]
	if pair, ok := name.(tupleLit); ok && len(pair) == 2 {
		if f.title, ok = pair[0].(string); !ok {
			return f, &DTypeError{Msg: "the title of a field is no string"}
		}
		name = pair[1]
	}
	if f.name, ok = name.(string); !ok {
		return f, &DTypeError{Msg: "the name of a field is no string"}
	}
	if err := b.count(len(f.name) + len(f.title)); err != nil {
		return f, err
	}
	dtype := tuple[1]
	if len(tuple) == 3 {
		dtype = tuple[1:]
	}
	f.dtype, err = b.literal(dtype)
	if err != nil {
		return f, inField(f.name, err)
	}
	return f, nil
}

// dict makes a structure from lists of what its fields have.
func (b *builder) dict(dict dictLit) (*DType, error) {
	lists, itemsize, err := columns(dict)
	if err != nil {
		return nil, err
	}
	names := lists["names"]
	for _, key := range []string{"formats", "offsets", "titles"} {
		if list, ok := lists[key]; (ok || key == "formats") && len(list) != len(names) {
			return nil, &DTypeError{Msg: fmt.Sprintf("a structure has %d names, but %d %s", len(names), len(list), key)}
		}
	}
	fields := make([]field, len(names))
	end, size := int64(0), int64(0)
	for i := range fields {
		f := &fields[i]
		f.offset = end
		if err := b.row(f, lists, i); err != nil {
			return nil, err
		}
		end = f.offset + f.dtype.size
		size = max(size, end)
	}
	if itemsize >= 0 {
		size = itemsize
	}
	return newStruct(fields, size, false)
}

// columns returns the lists that describe the fields, and the size of the
// structure or -1.
func columns(dict dictLit) (lists map[string]listLit, itemsize int64, err error) {
	lists, itemsize = make(map[string]listLit), -1
	for _, item := range dict {
		ok := true
		switch item.key {
		case "names", "formats", "offsets", "titles":
			lists[item.key], ok = item.value.(listLit)
		case "itemsize":
			itemsize, ok = item.value.(int64)
			ok = ok && itemsize >= 0
		case "aligned":
			_, ok = item.value.(bool)
		default:
			return nil, 0, &DTypeError{Msg: fmt.Sprintf("unknown key %q in the dict of a structure", clip(item.key))}
		}
		if !ok {
			return nil, 0, &DTypeError{Msg: fmt.Sprintf("%q in the dict of a structure is not what it should be", item.key)}
		}
	}
	return lists, itemsize, nil
}

// row makes field i. Its offset is set already, for the case that there is no
// list of them.
func (b *builder) row(f *field, lists map[string]listLit, i int) (err error) {
	ok := true
	if f.name, ok = lists["names"][i].(string); !ok {
		return &DTypeError{Msg: "the name of a field is no string"}
	}
	if offsets := lists["offsets"]; offsets != nil {
		if f.offset, ok = offsets[i].(int64); !ok || f.offset < 0 || f.offset > maxItem {
			return &DTypeError{Msg: fmt.Sprintf("the offset of field %q is impossible", clip(f.name))}
		}
	}
	if titles := lists["titles"]; titles != nil && titles[i] != nil {
		if f.title, ok = titles[i].(string); !ok {
			return &DTypeError{Msg: fmt.Sprintf("the title of field %q is no string", clip(f.name))}
		}
	}
	if err := b.count(len(f.name) + len(f.title)); err != nil {
		return err
	}
	if f.dtype, err = b.literal(lists["formats"][i]); err != nil {
		return inField(f.name, err)
	}
	return nil
}
