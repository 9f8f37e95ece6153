package form

import (
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// NoFormError says why an array, or a file without array, cannot be a file of NumPy. Its
// items can be read all the same, by the oid of its ZBigFile.
type NoFormError struct {
	Oid    zodb.Oid
	Reason error
}

func (e *NoFormError) Error() string {
	return fmt.Sprintf("object %s has no .npy form: %s", e.Oid, e.Reason)
}

func (e *NoFormError) Unwrap() error { return e.Reason }
