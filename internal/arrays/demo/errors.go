package demo

import (
	"fmt"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// ServerError says that the server did not start, or ended when it should not
// have. Its text is what the server itself said, if it said why.
type ServerError struct {
	Code int // exit code of the server; -1 if a signal ended it
	Line string
}

func (e *ServerError) Error() string { return e.Line }

// Kind returns what the server has made of its error.
func (e *ServerError) Kind() fault.Kind { return fault.OfExit(e.Code) }

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
