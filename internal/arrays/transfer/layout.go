package transfer

import (
	"fmt"
	"slices"

	"github.com/wcfs/wcfs/internal/arrays/ndarray"
)

// majorAxis returns the axis along which an array grows at its end: the first
// for C, the last for Fortran.
func majorAxis(a *ndarray.Array) int {
	if a.Order == ndarray.ColumnMajor {
		return len(a.Shape) - 1
	}
	return 0
}

// rowBytes returns how many bytes one step along the major axis takes. The array
// must have an axis.
func rowBytes(a *ndarray.Array) (int64, error) {
	one := *a
	one.Shape = slices.Clone(a.Shape)
	one.Shape[majorAxis(a)] = 1
	return one.Bytes()
}

// Describe returns dtype and shape as text, "<f8 (3, 700)". A shape that is nil is
// not known and left out.
func Describe(a *ndarray.Array) string {
	if a.Shape == nil {
		return a.DType.String()
	}
	text := fmt.Sprintf("%s %s", a.DType, ndarray.ShapeText(a.Shape))
	if a.Order == ndarray.ColumnMajor && len(a.Shape) > 1 {
		text += " in Fortran order"
	}
	return text
}
