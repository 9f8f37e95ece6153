package transfer

import (
	"errors"
	"fmt"

	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

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
	return fmt.Sprintf("%s exists already; choose another name, or use --append to add to it, or --replace", e.Name)
}

// TakenError says that mv would replace something.
type TakenError struct{ Name string }

func (e *TakenError) Error() string { return e.Name + " exists already; choose another name" }

func (e *TakenError) Unwrap() error { return &ExistsError{Name: e.Name} }

// FullError says that a folder cannot be removed because there is something in it.
type FullError struct {
	Name string
	N    int // names in it
}

func (e *FullError) Error() string {
	names := "names"
	if e.N == 1 {
		names = "name"
	}
	return fmt.Sprintf("%s is a folder with %d %s in it; to remove it with all of them use -r", e.Name, e.N, names)
}

// ChangedError says that somebody else has changed what a name means, or what it is in,
// while it was worked on. Nothing was written.
type ChangedError struct {
	Name string
	Err  error // *zwrite.ConflictError
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("somebody has changed %s, or the folder that it is in, meanwhile", e.Name)
}

func (e *ChangedError) Unwrap() error { return e.Err }

// named says of a conflict which name it is about, since nobody knows oids.
func named(name string, err error) error {
	var conflict *zwrite.ConflictError
	if errors.As(err, &conflict) {
		return &ChangedError{name, err}
	}
	return err
}

// LeftError says that something is left to the application that made it.
type LeftError struct {
	Name string
	What string // it is
}

func (e *LeftError) Error() string {
	return fmt.Sprintf("%s is %s; that is left to the application that made it", e.Name, e.What)
}
