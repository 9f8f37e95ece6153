package changes

import (
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// MissingError says that a block table refers to a node that does not exist.
type MissingError struct {
	Oid     zodb.Oid
	At      zodb.Tid
	Deleted zodb.Tid // when it was deleted; 0: it was packed away, or never there
}

func (e *MissingError) Error() string {
	if e.Deleted != 0 {
		return fmt.Sprintf("block table @%s is incomplete: its node %s was deleted @%s", e.At, e.Oid, e.Deleted)
	}
	return fmt.Sprintf("block table @%s is incomplete: its node %s does not exist at this view; it was packed away, most likely", e.At, e.Oid)
}

// damage reports whether err concerns one object only: what is stored is wrong,
// or was packed away. Any other error ends the work.
func damage(err error) bool {
	var corrupt *storage.CorruptError
	var packed *storage.PackedError
	return errors.As(err, &corrupt) || errors.As(err, &packed)
}
