package pickle

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strconv"
)

func (m *Machine) pushInt(i int64) error { return m.push(val{kind: KindInt, x: uint64(i)}) }

// binInt pushes an integer: only the one of 4 bytes is signed.
func (m *Machine) binInt(arg []byte) error {
	x := littleEndian(arg)
	if len(arg) == 4 {
		x = uint64(int64(int32(x)))
	}
	return m.push(val{kind: KindInt, x: x})
}

// long pushes a little-endian two's complement integer.
func (m *Machine) long(arg []byte) error {
	if len(arg) <= 8 {
		shift := 64 - 8*uint(len(arg))
		return m.pushInt(int64(littleEndian(arg)<<shift) >> shift)
	}
	m.charge(2 * len(arg))
	digits := slices.Clone(arg)
	slices.Reverse(digits)
	x := new(big.Int).SetBytes(digits)
	if arg[len(arg)-1] >= 0x80 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), 8*uint(len(arg))))
	}
	return m.pushBig(x)
}

func (m *Machine) pushBig(i *big.Int) error {
	if i.IsInt64() {
		return m.pushInt(i.Int64())
	}
	m.charge(sliceSize + wordSize + i.BitLen()/8)
	return m.other(i)
}

func (m *Machine) binFloat(arg []byte) error {
	m.charge(wordSize)
	return m.other(math.Float64frombits(binary.BigEndian.Uint64(arg)))
}

// ---- in text ----

// digits returns the line with a number.
func (m *Machine) digits(arg []byte) ([]byte, error) {
	line := arg[:len(arg)-1]
	if len(line) > maxDigits {
		return nil, m.errorf("a number of %d digits", len(line))
	}
	return line, nil
}

// textInt pushes an integer; 00 and 01 are booleans.
func (m *Machine) textInt(arg []byte) error {
	switch string(arg) {
	case "00\n":
		return m.other(false)
	case "01\n":
		return m.other(true)
	}
	return m.decimal(arg, "")
}

func (m *Machine) textLong(arg []byte) error { return m.decimal(arg, "L") }

func (m *Machine) decimal(arg []byte, suffix string) error {
	digits, err := m.digits(arg)
	if err != nil {
		return err
	}
	digits = bytes.TrimSuffix(digits, []byte(suffix))
	if i, err := strconv.ParseInt(string(digits), 10, 64); err == nil {
		return m.pushInt(i)
	}
	if x, ok := new(big.Int).SetString(string(digits), 10); ok {
		return m.pushBig(x)
	}
	return m.errorf("%.50q is no integer", digits)
}

func (m *Machine) textFloat(arg []byte) error {
	line, err := m.digits(arg)
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(string(line), 64)
	if err != nil && !math.IsInf(f, 0) { // out of range is infinite in Python too
		return m.errorf("%.50q is no number", line)
	}
	m.charge(wordSize)
	return m.other(f)
}
