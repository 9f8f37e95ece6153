package demo

import (
	"fmt"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// WrongError says that data was not what had been committed.
type WrongError struct {
	Where     string // what was looked at
	Block     int    // in blocks from the beginning of the array
	Element   int    // in elements from the beginning of the block
	Got, Want int64
}

func (e *WrongError) Error() string {
	return fmt.Sprintf("BUG: %s shows %d in element %d of block %d, but must show %d", e.Where, e.Got, e.Element, e.Block, e.Want)
}

func (e *WrongError) Kind() fault.Kind { return fault.Bug }
