package ndarray

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// newScalar returns a scalar. order is the one that was asked for: it is dropped
// where it means nothing, and anything but '>' is little-endian where it does.
func newScalar(kind, order byte, size int64) *DType {
	switch {
	case size == 1, kind == 'S', kind == 'V':
		order = '|'
	case order != '>':
		order = '<'
	}
	align := size
	switch kind {
	case 'S', 'V':
		align = 1
	case 'U':
		align = 4
	case 'c':
		align = size / 2
	}
	d := &DType{kind: kind, order: order, size: size, align: align}
	if kind == 'M' || kind == 'm' {
		d.unit.num = 1
	}
	return d
}

// parseScalar parses how numpy spells scalars: byte order, kind and size, or a
// name such as int32.
func parseScalar(s string) (*DType, error) {
	rest, order := s, byte('=')
	if s != "" && strings.IndexByte("<>=|", s[0]) >= 0 {
		rest, order = s[1:], s[0]
	}
	rest = spellOut(rest)
	if rest == "" {
		return nil, unknown(s)
	}
	kind, digits := rest[0], rest[1:]
	if kind == 'M' || kind == 'm' {
		return parseDate(s, kind, order, digits)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case kind == 'O' && (digits == "" || err == nil):
		return nil, &ObjectDTypeError{}
	case err != nil || digits[0] == '+' || digits[0] == '-':
		return nil, unknown(s)
	case kind == 'U' && n <= maxItem/4:
		return newScalar(kind, order, 4*n), nil
	case (kind == 'S' || kind == 'V') && n <= maxItem:
		return newScalar(kind, order, n), nil
	case slices.Contains(numberSizes(kind), n):
		return newScalar(kind, order, n), nil
	case strings.IndexByte("SUV", kind) >= 0:
		return nil, &DTypeError{Text: clip(s), Msg: fmt.Sprintf("an item cannot have more than %d bytes", maxItem)}
	}
	return nil, unknown(s)
}

func unknown(s string) error {
	return &DTypeError{Text: clip(s), Msg: "not a known type; try one like <f8, int32, bool, S16, U8, datetime64[ns] or [('x', '<f4'), ('n', '<i8')]"}
}

// numberSizes returns the sizes in bytes that numbers of a kind come in.
func numberSizes(kind byte) []int64 {
	switch kind {
	case 'b':
		return []int64{1}
	case 'i', 'u':
		return []int64{1, 2, 4, 8}
	case 'f':
		return []int64{2, 4, 8, 16}
	case 'c':
		return []int64{8, 16, 32}
	}
	return nil
}

// spellOut turns a name or a letter of numpy into kind and size. Everything else
// comes back as it is.
func spellOut(name string) string {
	switch name {
	case "bool", "bool_", "?":
		return "b1"
	case "b", "byte":
		return "i1"
	case "B", "ubyte":
		return "u1"
	case "h", "short":
		return "i2"
	case "H", "ushort":
		return "u2"
	case "i", "intc":
		return "i4"
	case "I", "uintc":
		return "u4"
	case "l", "q", "p", "int", "int_", "intp", "long", "longlong":
		return "i8"
	case "L", "Q", "P", "uint", "uintp", "ulong", "ulonglong":
		return "u8"
	case "e", "half":
		return "f2"
	case "f", "single":
		return "f4"
	case "d", "float", "float_", "double":
		return "f8"
	case "g", "longdouble":
		return "f16"
	case "F", "csingle":
		return "c8"
	case "D", "complex", "complex_", "cdouble":
		return "c16"
	case "G", "clongdouble":
		return "c32"
	case "c":
		return "S1"
	case "S", "bytes", "bytes_":
		return "S0"
	case "U", "str", "str_":
		return "U0"
	case "V", "void":
		return "V0"
	case "object", "object_":
		return "O"
	}
	return spellOutBits(name)
}

// spellOutBits does so for the names that end with a number of bits.
func spellOutBits(name string) string {
	for _, long := range []struct{ prefix, kind string }{
		{"int", "i"}, {"uint", "u"}, {"float", "f"}, {"complex", "c"},
	} {
		bits, ok := strings.CutPrefix(name, long.prefix)
		n, err := strconv.ParseUint(bits, 10, 16)
		if ok && err == nil && n%8 == 0 && bits[0] != '0' {
			return long.kind + strconv.FormatUint(n/8, 10)
		}
	}
	for _, long := range []struct{ prefix, kind string }{{"datetime64", "M8"}, {"timedelta64", "m8"}} {
		if rest, ok := strings.CutPrefix(name, long.prefix); ok {
			return long.kind + rest
		}
	}
	return name
}

// parseDate parses what follows M or m in s: the size, always 8, and maybe a unit.
func parseDate(s string, kind, order byte, rest string) (*DType, error) {
	rest = strings.TrimPrefix(rest, "8")
	d := newScalar(kind, order, 8)
	if rest == "" {
		return d, nil
	}
	inner, ok := strings.CutPrefix(rest, "[")
	inner, ok2 := strings.CutSuffix(inner, "]")
	if !ok || !ok2 {
		return nil, unknown(s)
	}
	name := strings.TrimLeft(inner, "0123456789")
	num := int64(1)
	if digits := inner[:len(inner)-len(name)]; digits != "" {
		num, _ = strconv.ParseInt(digits, 10, 64) // what does not fit becomes too big
	}
	if err := d.setUnit(name, num); err != nil {
		return nil, &DTypeError{Text: clip(s), Msg: err.Error()}
	}
	return d, nil
}

// setUnit sets the unit of a date that is being made.
func (d *DType) setUnit(name string, num int64) error {
	if name == "generic" && num == 1 {
		return nil
	}
	if name == "\u03bcs" {
		name = "us"
	}
	switch name {
	case "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as":
	default:
		return fmt.Errorf("%q is no unit of time; numpy has Y M W D h m s ms us ns ps fs as", clip(name))
	}
	if num < 1 || num > maxItem {
		return fmt.Errorf("%d is no possible number of units", num)
	}
	d.unit = unit{name, num}
	return nil
}
