package catalog

import (
	"fmt"
	"strings"
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

// TimeError says that a text names no view.
type TimeError struct{ Text, Msg string }

func (e *TimeError) Error() string {
	return fmt.Sprintf("%q is no time: %s; write a tid of 16 hex digits, a time like 2024-02-29T12:00:00Z, or a duration ago like -5m", e.Text, e.Msg)
}
