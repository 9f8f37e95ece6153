package pickle

import (
	"encoding/binary"
	"math"
)

// Functions named Append append a value to a pickle, and put nothing into the memo.

// AppendInt appends an integer, as Python does with protocol 2 and later.
func AppendInt(b []byte, x int64) []byte {
	switch {
	case x >= 0 && x <= math.MaxUint8:
		return append(b, OpBinInt1, byte(x))
	case x >= 0 && x <= math.MaxUint16:
		return binary.LittleEndian.AppendUint16(append(b, OpBinInt2), uint16(x))
	case x == int64(int32(x)):
		return binary.LittleEndian.AppendUint32(append(b, OpBinInt), uint32(x))
	}
	n := 5 // bytes that hold x with its sign
	for n < 8 && x>>(8*n-1) != 0 && x>>(8*n-1) != -1 {
		n++
	}
	return append(append(b, OpLong1, byte(n)), binary.LittleEndian.AppendUint64(nil, uint64(x))[:n]...)
}

// AppendFloat appends a float.
func AppendFloat(b []byte, x float64) []byte {
	return binary.BigEndian.AppendUint64(append(b, OpBinFloat), math.Float64bits(x))
}

// AppendText appends text, given in UTF-8.
func AppendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(append(b, OpBinUnicode), uint32(len(s))), s...)
}

// AppendBytes appends less than 4 GiB of bytes, for which protocol 3 is needed.
func AppendBytes[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(appendCount(b, OpShortBinBytes, OpBinBytes, len(s)), s...)
}

// AppendString appends a str of Python 2 of less than 2 GiB.
func AppendString[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(appendCount(b, OpShortBinString, OpBinString, len(s)), s...)
}

func appendCount(b []byte, short, long byte, n int) []byte {
	if n <= math.MaxUint8 {
		return append(b, short, byte(n))
	}
	return binary.LittleEndian.AppendUint32(append(b, long), uint32(n))
}
