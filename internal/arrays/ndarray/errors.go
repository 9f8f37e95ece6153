package ndarray

import (
	"fmt"
	"strings"
)

// DTypeError says why something is no type that can be used here.
type DTypeError struct {
	Field string // path of the field it is about; empty for the whole item
	Text  string // what was given, shortened; empty if that was no text
	Msg   string
}

func (e *DTypeError) Error() string {
	what := "dtype"
	if e.Text != "" {
		what += fmt.Sprintf(" %q", e.Text)
	}
	if e.Field != "" {
		what += fmt.Sprintf(" of field %q", e.Field)
	}
	return what + ": " + e.Msg
}

// ObjectDTypeError refuses a type whose items refer to Python objects. Such items
// are addresses in the memory of a process, or pickles: there is nothing to map.
type ObjectDTypeError struct {
	Field string // path of the field that is such a reference; empty for the whole item
}

func (e *ObjectDTypeError) Error() string {
	what := "items"
	if e.Field != "" {
		what = fmt.Sprintf("field %q", e.Field)
	}
	return "dtype: " + what + " would be references to Python objects, which cannot be stored as bytes"
}

// LayoutError refuses to spell a type in an .npy header.
type LayoutError struct {
	Field string // the field that .npy has no words for; empty for the whole item
	Msg   string
}

func (e *LayoutError) Error() string {
	if e.Field == "" {
		return ".npy files cannot describe this array: " + e.Msg
	}
	return fmt.Sprintf(".npy files cannot describe this array: field %q %s", e.Field, e.Msg)
}

// ShapeError says why a shape is impossible.
type ShapeError struct {
	Shape []int64
	Msg   string
}

func (e *ShapeError) Error() string {
	return fmt.Sprintf("shape %s: %s", clip(ShapeText(e.Shape)), e.Msg)
}

// ArrayError says what is unusual in the state of a ZBigArray.
type ArrayError struct {
	Attr string // attribute, such as "_dtype"; empty for the state as a whole
	Err  error
}

func (e *ArrayError) Error() string {
	if e.Attr == "" {
		return "state of a ZBigArray: " + e.Err.Error()
	}
	return fmt.Sprintf("%s of a ZBigArray: %s", e.Attr, e.Err)
}

func (e *ArrayError) Unwrap() error { return e.Err }

// HeaderError says why the beginning of a file is no usable .npy header.
type HeaderError struct {
	Err error
}

func (e *HeaderError) Error() string { return ".npy header: " + e.Err.Error() }

func (e *HeaderError) Unwrap() error { return e.Err }

// clip bounds text from outside in messages.
func clip(s string) string {
	const max = 100
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "") + "..."
	}
	return s
}
