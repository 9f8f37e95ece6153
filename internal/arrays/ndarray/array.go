package ndarray

import (
	"fmt"
	"math"
	"math/bits"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Array is what the record of a ZBigArray says. Items stand one after another in
// the file, from its first byte on. The file may be shorter or longer than
// that: what is missing is zeros.
type Array struct {
	DType *DType
	Shape []int64
	Order Order
	File  zodb.Oid // the ZBigFile
}

// Bytes returns the size of the items. An array without dimensions is one item,
// one with a dimension of 0 has none. The error is a *ShapeError: negative or too
// many dimensions, or more bytes than 63 bits can count; as in numpy, dimensions
// of 0 do not excuse the others.
func (a *Array) Bytes() (int64, error) { return arrayBytes(a.DType.size, a.Shape) }

// Strides returns by how many bytes the next item in each dimension is away.
// Bytes must have no error.
func (a *Array) Strides() []int64 { return strides(a.DType.size, a.Shape, a.Order) }

func arrayBytes(size int64, shape []int64) (int64, error) {
	if len(shape) > maxDims {
		return 0, &ShapeError{shape, fmt.Sprintf("more than %d dimensions", maxDims)}
	}
	empty := false
	for _, n := range shape {
		switch {
		case n < 0:
			return 0, &ShapeError{shape, "a negative dimension"}
		case n == 0:
			empty = true
			continue
		}
		hi, lo := bits.Mul64(uint64(size), uint64(n))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, &ShapeError{shape, "more bytes than 63 bits can count"}
		}
		size = int64(lo)
	}
	if empty {
		return 0, nil
	}
	return size, nil
}

func strides(size int64, shape []int64, order Order) []int64 {
	out := make([]int64, len(shape))
	for i := range shape {
		axis := i
		if order != ColumnMajor {
			axis = len(shape) - 1 - i
		}
		out[axis] = size
		size *= shape[axis]
	}
	return out
}
