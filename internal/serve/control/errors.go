package control

import (
	"fmt"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// ServeError says that a server which was to be started ended instead.
type ServeError struct {
	Code int    // its exit code
	Msg  string // what it said
}

func (e *ServeError) Error() string { return e.Msg }

// Kind returns what the server has made of its error.
func (e *ServeError) Kind() fault.Kind { return fault.OfExit(e.Code) }

func taken(dir, zurl string, uid int) error {
	return &fault.Error{Kind: fault.Taken, About: dir,
		Msg:  fmt.Sprintf("the server there belongs to %s, and nobody else can use it", mount.UserName(uid)),
		Hint: "choose a mount point of your own: wcfs mount " + zurl + " MOUNTPOINT"}
}
