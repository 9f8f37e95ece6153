package ndarray

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Header is what the header of an .npy file says. The items follow it.
type Header struct {
	DType *DType
	Shape []int64
	Order Order
}

const (
	npyMagic   = "\x93NUMPY"
	npyAlign   = 64      // the items begin at a multiple of this
	maxHeader  = 1 << 20 // bytes of the text
	growDigits = 21      // room that numpy leaves for the number of rows to grow
)

// ReadHeader reads the header of an .npy file of format 1.0, 2.0 or 3.0, and not a
// byte more. The error is a *HeaderError; it may wrap one of the errors for types
// and shapes, io.ErrUnexpectedEOF for a file that ends too early, or what r failed
// with.
func ReadHeader(r io.Reader) (*Header, error) {
	text, err := readText(r)
	if err == nil {
		var h *Header
		if h, err = parseHeader(text); err == nil {
			return h, nil
		}
	}
	return nil, &HeaderError{err}
}

// readText reads the text of a header, a Python dict, as UTF-8.
func readText(r io.Reader) (string, error) {
	var begin [len(npyMagic) + 2]byte
	if n, err := readFull(r, begin[:]); err != nil {
		return "", noMagic(begin[:n], err)
	}
	if string(begin[:len(npyMagic)]) != npyMagic {
		return "", noMagic(begin[:], nil)
	}
	major, minor := begin[6], begin[7]
	if major < 1 || major > 3 || minor != 0 {
		return "", fmt.Errorf("format %d.%d is not known; 1.0, 2.0 and 3.0 are", major, minor)
	}
	size := make([]byte, 4)
	if major == 1 {
		size = size[:2]
	}
	if _, err := readFull(r, size); err != nil {
		return "", err
	}
	n := binary.LittleEndian.Uint32(append(slices.Clone(size), 0, 0)[:4])
	if n > maxHeader {
		return "", fmt.Errorf("%d bytes long; at most %d are accepted", n, maxHeader)
	}
	text := make([]byte, n)
	if _, err := readFull(r, text); err != nil {
		return "", err
	}
	if major < 3 {
		return fromLatin1(text), nil
	}
	if !utf8.Valid(text) {
		return "", errors.New("not valid UTF-8, as format 3.0 has it")
	}
	return string(text), nil
}

// readFull reads all of b. A file that ends before is always unexpected.
func readFull(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("the file ends too early: %w", err)
	}
	return n, err
}

// noMagic says what a file that begins with b is instead of an .npy one. err is
// why there is no more of it, if so.
func noMagic(b []byte, err error) error {
	switch {
	case bytes.HasPrefix([]byte(npyMagic), b[:min(len(b), len(npyMagic))]) && err != nil:
		return err
	case bytes.HasPrefix(b, []byte("PK\x03\x04")), bytes.HasPrefix(b, []byte("PK\x05\x06")):
		return errors.New("this is a zip file, maybe an .npz: unpack it, and take one of the .npy files in it")
	case len(b) > 1 && b[0] == 0x80 && b[1] >= 2 && b[1] <= 5:
		return errors.New("this is a Python pickle, not an array: load it with Python and save it with numpy.save")
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	return fmt.Errorf("this is no .npy file: it begins with %q instead of %q", b, npyMagic)
}

func fromLatin1(b []byte) string {
	text := make([]byte, 0, len(b))
	for _, c := range b {
		text = utf8.AppendRune(text, rune(c))
	}
	return string(text)
}

// parseHeader parses the dict, whose keys are exactly descr, fortran_order and
// shape.
func parseHeader(text string) (*Header, error) {
	lit, err := parseLiteral(text)
	if err != nil {
		return nil, fmt.Errorf("no Python literal: %w", err)
	}
	dict, ok := lit.(dictLit)
	if !ok {
		return nil, errors.New("expect a dict")
	}
	values := make(map[string]any)
	for _, item := range dict {
		values[item.key] = item.value
	}
	descr, ok1 := values["descr"]
	fortran, ok2 := values["fortran_order"].(bool)
	shape, ok3 := values["shape"].(tupleLit)
	if len(values) != 3 || !ok1 || !ok2 || !ok3 {
		return nil, errors.New("expect a dict of descr, fortran_order (a bool) and shape (a tuple)")
	}
	h := &Header{Order: RowMajor}
	if fortran {
		h.Order = ColumnMajor
	}
	if h.DType, err = new(builder).literal(descr); err != nil {
		return nil, err
	}
	if h.Shape, err = shapeOf(shape); err != nil {
		return nil, err
	}
	if _, err = arrayBytes(h.DType.size, h.Shape); err != nil {
		return nil, err
	}
	return h, nil
}

// Encode returns the header as numpy.save writes it, in the oldest format that can
// hold it. A sub-array type becomes more dimensions. One dimension or none is in
// row-major order, as numpy has what is in both. The error is a *LayoutError or
// a *ShapeError.
func (h *Header) Encode() ([]byte, error) { return h.EncodeAligned(npyAlign) }

// EncodeAligned is Encode with as many spaces as it takes for the items to begin at a
// multiple of align bytes. NumPy loads headers with up to 10000 bytes of text without being
// told that they are trusted.
func (h *Header) EncodeAligned(align int) ([]byte, error) {
	if _, err := arrayBytes(h.DType.size, h.Shape); err != nil {
		return nil, err
	}
	plain, err := h.flatten()
	if err != nil {
		return nil, err
	}
	if err := plain.DType.describable(); err != nil {
		return nil, err
	}
	text := plain.text()
	if b, ok := latin1(text); ok {
		if b, ok := frame(1, b, align); ok {
			return b, nil
		}
		if b, ok := frame(2, b, align); ok {
			return b, nil
		}
	} else if b, ok := frame(3, text, align); ok {
		return b, nil
	}
	return nil, &LayoutError{"", fmt.Sprintf("the description of its type takes %d bytes", len(text))}
}

// flatten replaces a type that is a sub-array by what it is an array of.
func (h *Header) flatten() (*Header, error) {
	if h.Order == ColumnMajor && len(h.Shape) < 2 {
		h = &Header{h.DType, h.Shape, RowMajor}
	}
	if !h.DType.isSub() {
		return h, nil
	}
	if h.Order == ColumnMajor {
		return nil, &LayoutError{"", "its items are sub-arrays, in row-major order, but the array is in column-major order"}
	}
	flat := &Header{h.DType.base, slices.Concat(h.Shape, h.DType.shape), h.Order}
	if len(flat.Shape) > maxDims {
		return nil, &ShapeError{flat.Shape, fmt.Sprintf("more than %d dimensions", maxDims)}
	}
	return flat.flatten()
}

// describable refuses structures that cannot be written as a list of fields.
func (d *DType) describable() error {
	if d.isSub() {
		return d.base.describable()
	}
	if f := d.outOfOrder(); f != nil {
		return &LayoutError{clip(f.name), "overlaps another one, or is out of order"}
	}
	for i := range d.fields {
		if err := d.fields[i].dtype.describable(); err != nil {
			return inField(d.fields[i].name, err)
		}
	}
	return nil
}

// text returns the dict, and spaces for the first dimension to grow in place.
func (h *Header) text() []byte {
	b := h.DType.appendLiteral([]byte("{'descr': "))
	b = append(b, ", 'fortran_order': "...)
	grow := 0 // dimension
	if h.Order == ColumnMajor {
		b = append(b, "True"...)
		grow = len(h.Shape) - 1
	} else {
		b = append(b, "False"...)
	}
	b = append(appendShape(append(b, ", 'shape': "...), h.Shape), ", }"...)
	if len(h.Shape) > 0 {
		digits := strconv.FormatInt(h.Shape[grow], 10)
		b = append(b, bytes.Repeat([]byte(" "), growDigits-len(digits))...)
	}
	return b
}

// latin1 encodes text; ok is false if it has other characters.
func latin1(text []byte) (out []byte, ok bool) {
	for _, r := range string(text) {
		if r > 0xff {
			return nil, false
		}
		out = append(out, byte(r))
	}
	return out, true
}

// frame puts everything around the text that makes it a header; ok is false if the
// format has no room for it. Like numpy it adds a whole unit of spaces where none
// is needed.
func frame(major byte, text []byte, align int) (out []byte, ok bool) {
	size, most := 4, maxHeader
	if major == 1 {
		size, most = 2, 0xffff
	}
	begin := len(npyMagic) + 2 + size
	pad := align - (begin+len(text)+1)%align
	n := len(text) + pad + 1
	if n > most {
		return nil, false
	}
	out = append(out, npyMagic...)
	out = append(out, major, 0)
	out = binary.LittleEndian.AppendUint32(out, uint32(n))[:begin]
	out = append(out, text...)
	out = append(out, bytes.Repeat([]byte(" "), pad)...)
	return append(out, '\n'), true
}
