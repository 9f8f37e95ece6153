package control

import (
	"fmt"

	"github.com/wcfs/wcfs/internal/serve/mount"
)

// Kind classifies why something could not be done with a server.
type Kind int

const (
	NotRunning     Kind = iota // there is no server
	AlreadyRunning             // there is one already
	Stuck                      // it does not answer, or does not go away
	ClientsEnded               // it was stopped, but clients had to be ended for that
	Taken                      // the mount point is in use by the server of another user
	Foreign                    // only another user may do that
	Ambiguous                  // several servers are meant
	Unhealthy                  // it answers wrongly
	LeftOver                   // it was stopped, but something of it is still used
	Covered                    // something else is mounted on top of it
)

// Error says what is the matter with a server, and what to do.
type Error struct {
	Kind Kind
	Msg  string
	Hint string // may be empty
	Err  error  // cause, may be nil; part of Msg
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Msg
	}
	return e.Msg + "; " + e.Hint
}

func (e *Error) Unwrap() error { return e.Err }

// ServeError says that a server which was to be started ended instead.
type ServeError struct {
	Code int    // its exit code
	Msg  string // what it said
}

func (e *ServeError) Error() string { return e.Msg }

func taken(dir, zurl string, uid int) *Error {
	return &Error{Kind: Taken,
		Msg:  fmt.Sprintf("%s: the server there belongs to %s, and nobody else can use it", dir, mount.UserName(uid)),
		Hint: "choose a mount point of your own: wcfs mount " + zurl + " MOUNTPOINT"}
}
