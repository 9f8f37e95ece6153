package catalog

import (
	"fmt"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// NotFoundError says that a database has no array or file of that name or oid.
type NotFoundError struct {
	Name string
	Near []string // names that may have been meant
}

func (e *NotFoundError) Error() string {
	text := fmt.Sprintf("%s: there is no array or file of that name", e.Name)
	if len(e.Near) > 0 {
		return text + "; did you mean " + strings.Join(e.Near, ", ") + "?"
	}
	return text + "; wcfs ls lists what there is"
}

func (e *NotFoundError) Kind() fault.Kind { return fault.NotFound }

// TimeError says that a text names no view.
type TimeError struct{ Text, Msg string }

func (e *TimeError) Error() string {
	return fmt.Sprintf("%q is no time: %s; write a tid of 16 hex digits, a time like 2024-02-29T12:00:00Z, or a duration ago like -5m", e.Text, e.Msg)
}

func (e *TimeError) Kind() fault.Kind { return fault.Usage }

// WrongKindError says that the object of that name or oid is something else than
// an array or a file.
type WrongKindError struct {
	Name string
	Oid  zodb.Oid // zodb.InvalidOid for a value that is no object of its own
	Is   string   // what it is instead: a class, or a word for the value
}

func (e *WrongKindError) Error() string {
	return fmt.Sprintf("%s: neither an array nor a file, but %.200s; wcfs ls lists what there is", e.Name, e.Is)
}

func (e *WrongKindError) Kind() fault.Kind { return fault.NotFound }
