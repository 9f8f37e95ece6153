package pickle

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strconv"
	"unsafe"
)

// binInt pushes an integer of size bytes: only the one of 4 bytes is signed.
func (d *decoder) binInt(size uint64) error {
	x, err := d.uint(size)
	if err != nil {
		return err
	}
	if size == 4 {
		return d.pushInt(int64(int32(x)))
	}
	return d.pushInt(int64(x))
}

// long pushes a little-endian two's complement integer, whose length in bytes
// is told by the size bytes before.
func (d *decoder) long(size uint64) error {
	b, err := d.counted(size)
	if err != nil {
		return err
	}
	d.charge(2 * len(b))
	digits := slices.Clone(b)
	slices.Reverse(digits)
	x := new(big.Int).SetBytes(digits)
	if len(b) > 0 && b[len(b)-1] >= 0x80 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), 8*uint(len(b))))
	}
	return d.pushBig(x)
}

func (d *decoder) binFloat() error {
	b, err := d.next(8)
	if err != nil {
		return err
	}
	d.charge(wordSize)
	return d.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
}

func (d *decoder) bytes(size uint64) error {
	b, err := d.counted(size)
	if err != nil {
		return err
	}
	if d.inPlace {
		d.charge(stringSize)
		return d.push(Bytes(unsafe.String(unsafe.SliceData(b), len(b))))
	}
	return d.pushBytes(b)
}

func (d *decoder) pushBytes(b []byte) error {
	d.charge(stringSize + len(b))
	return d.push(Bytes(b))
}

func (d *decoder) unicode(size uint64) error {
	b, err := d.counted(size)
	if err != nil {
		return err
	}
	if d.inPlace {
		d.charge(stringSize)
		return d.push(unsafe.String(unsafe.SliceData(b), len(b)))
	}
	return d.pushText(b)
}

func (d *decoder) pushText(b []byte) error {
	d.charge(stringSize + len(b))
	return d.push(string(b))
}

// ---- protocol 0 ----

// digits reads a line with a number.
func (d *decoder) digits() ([]byte, error) {
	line, err := d.line()
	if err == nil && len(line) > maxDigits {
		err = d.errorf("a number of %d digits", len(line))
	}
	return line, err
}

// textInt pushes an integer; 00 and 01 are booleans.
func (d *decoder) textInt() error {
	line, err := d.digits()
	if err != nil {
		return err
	}
	switch string(line) {
	case "00":
		return d.push(false)
	case "01":
		return d.push(true)
	}
	return d.decimal(line)
}

func (d *decoder) textLong() error {
	line, err := d.digits()
	if err != nil {
		return err
	}
	return d.decimal(bytes.TrimSuffix(line, []byte("L")))
}

func (d *decoder) decimal(digits []byte) error {
	if x, ok := new(big.Int).SetString(string(digits), 10); ok {
		return d.pushBig(x)
	}
	return d.errorf("%.50q is no integer", digits)
}

func (d *decoder) textFloat() error {
	line, err := d.digits()
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(string(line), 64)
	if err != nil && !math.IsInf(f, 0) { // out of range is infinite in Python too
		return d.errorf("%.50q is no number", line)
	}
	d.charge(wordSize)
	return d.push(f)
}

func (d *decoder) textMemo(do func(index uint64) error) error {
	line, err := d.digits()
	if err != nil {
		return err
	}
	index, err := strconv.ParseUint(string(line), 10, 64)
	if err != nil {
		return d.errorf("%.50q is no memo index", line)
	}
	return do(index)
}

func (d *decoder) textString() error {
	line, err := d.line()
	if err != nil {
		return err
	}
	n := len(line)
	if n < 2 || line[0] != line[n-1] || line[0] != '\'' && line[0] != '"' {
		return d.errorf("a string without quotes")
	}
	b, ok := unescape(line[1 : n-1])
	if !ok {
		return d.errorf("a string with a bad escape")
	}
	return d.pushBytes(b)
}

func (d *decoder) textUnicode() error {
	line, err := d.line()
	if err != nil {
		return err
	}
	b, ok := unescapeUnicode(line)
	if !ok {
		return d.errorf("text with a bad escape")
	}
	return d.pushText(b)
}
