package ndarray

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// String returns the type as numpy spells it, see the package comment.
// ParseDType understands it.
func (d *DType) String() string {
	if d.isSub() || d.isStruct() {
		return string(d.appendLiteral(nil))
	}
	return d.code()
}

// code returns the text of a scalar.
func (d *DType) code() string {
	size := d.size
	if d.kind == 'U' {
		size /= 4
	}
	code := fmt.Sprintf("%c%c%d", d.order, d.kind, size)
	switch {
	case d.unit.name == "":
		return code
	case d.unit.num == 1:
		return code + "[" + d.unit.name + "]"
	}
	return fmt.Sprintf("%s[%d%s]", code, d.unit.num, d.unit.name)
}

// appendLiteral appends d as a Python literal.
func (d *DType) appendLiteral(b []byte) []byte {
	switch {
	case d.isSub():
		b = d.base.appendLiteral(append(b, '('))
		b = appendShape(append(b, ", "...), d.shape)
		return append(b, ')')
	case !d.isStruct():
		return append(append(append(b, '\''), d.code()...), '\'')
	case d.outOfOrder() != nil:
		return d.appendDict(b)
	}
	return d.appendDescr(b)
}

// outOfOrder returns the first field of a structure that does not come after the
// one before it, or nil.
func (d *DType) outOfOrder() *field {
	end := int64(0)
	for i := range d.fields {
		f := &d.fields[i]
		if f.offset < end {
			return f
		}
		end = f.offset + f.dtype.size
	}
	return nil
}

// appendDescr appends a structure whose fields are in order.
func (d *DType) appendDescr(b []byte) []byte {
	begin, end := len(b)+1, int64(0)
	next := func(name, title string) {
		if len(b) > begin {
			b = append(b, ", "...)
		}
		b = append(b, '(')
		if title != "" {
			b = append(appendRepr(append(b, '('), title), ", "...)
		}
		b = appendRepr(b, name)
		if title != "" {
			b = append(b, ')')
		}
		b = append(b, ", "...)
	}
	pad := func(offset int64) {
		if offset > end {
			next("", "")
			b = append(b, newScalar('V', '|', offset-end).appendLiteral(nil)...)
			b = append(b, ')')
		}
	}
	b = append(b, '[')
	for i := range d.fields {
		f := &d.fields[i]
		pad(f.offset)
		next(f.name, f.title)
		if t := f.dtype; t.isSub() {
			b = t.base.appendLiteral(b)
			b = appendShape(append(b, ", "...), t.shape)
		} else {
			b = t.appendLiteral(b)
		}
		b = append(b, ')')
		end = f.offset + f.dtype.size
	}
	pad(d.size)
	return append(b, ']')
}

// appendDict appends a structure of any layout.
func (d *DType) appendDict(b []byte) []byte {
	list := func(key string, item func(f *field)) {
		b = append(append(append(b, '\''), key...), "': ["...)
		for i := range d.fields {
			if i > 0 {
				b = append(b, ", "...)
			}
			item(&d.fields[i])
		}
		b = append(b, "], "...)
	}
	titled := false
	b = append(b, '{')
	list("names", func(f *field) { b = appendRepr(b, f.name); titled = titled || f.title != "" })
	list("formats", func(f *field) { b = f.dtype.appendLiteral(b) })
	list("offsets", func(f *field) { b = strconv.AppendInt(b, f.offset, 10) })
	if titled {
		list("titles", func(f *field) {
			if f.title == "" {
				b = append(b, "None"...)
			} else {
				b = appendRepr(b, f.title)
			}
		})
	}
	b = strconv.AppendInt(append(b, "'itemsize': "...), d.size, 10)
	return append(b, '}')
}

// appendShape appends a tuple of integers.
func appendShape(b []byte, shape []int64) []byte {
	b = append(b, '(')
	for i, n := range shape {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(strconv.AppendInt(b, n, 10), ',')
	}
	if len(shape) > 1 {
		b = b[:len(b)-1]
	}
	return append(b, ')')
}

// ShapeText returns a shape as Python writes it: (3, 700), (3,), ().
func ShapeText(shape []int64) string { return string(appendShape(nil, shape)) }

// appendRepr appends text as repr of Python 3 shows it.
func appendRepr(b []byte, s string) []byte {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b = append(b, quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case unicode.IsPrint(r):
			b = append(b, string(r)...)
		case r <= 0xff:
			b = fmt.Appendf(b, `\x%02x`, r)
		case r <= 0xffff:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = fmt.Appendf(b, `\U%08x`, r)
		}
	}
	return append(b, quote)
}
