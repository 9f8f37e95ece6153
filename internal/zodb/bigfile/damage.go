package bigfile

import (
	"errors"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// IsDamage reports whether err concerns one file only: what it refers to cannot
// be right, or was packed away. Anything else concerns the database.
func IsDamage(err error) bool {
	var corrupt *storage.CorruptError
	var packed *storage.PackedError
	return errors.As(err, &corrupt) || errors.As(err, &packed) || errors.Is(err, ErrTooBig)
}
