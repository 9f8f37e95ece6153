package transfer

import "fmt"

// InputError says that a file cannot be imported: what is wrong and what to do.
type InputError struct {
	Path string
	Msg  string
	Hint string // may be empty
	Err  error  // cause, may be nil; not part of the text
}

func (e *InputError) Error() string {
	text := fmt.Sprintf("%s: %s", e.Path, e.Msg)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

func (e *InputError) Unwrap() error { return e.Err }

// ExistsError says that there is something of that name already.
type ExistsError struct{ Name string }

func (e *ExistsError) Error() string {
	return fmt.Sprintf("%s exists already; choose another name, or use --append to add to it", e.Name)
}
