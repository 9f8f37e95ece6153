package transfer

import (
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/go123/xerr"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// exists says that there is something of that name already.
func exists(name string) error {
	return &fault.Error{Kind: fault.Exists, Msg: name + " exists already", Hint: "choose another name, or use --append to add to it, or --replace"}
}

// full says that a folder cannot be removed because there are n names in it.
func full(name string, n int) error {
	names := "names"
	if n == 1 {
		names = "name"
	}
	return &fault.Error{Msg: fmt.Sprintf("%s is a folder with %d %s in it", name, n, names), Hint: "to remove it with all of them use -r"}
}

// failed puts in front of an error, if there is one, what failed. A conflict, after which
// nothing was written, tells the name it is about, since nobody knows oids.
func failed(err *error, what, name string) {
	var conflict *zwrite.ConflictError
	if errors.As(*err, &conflict) {
		*err = &fault.Error{Kind: fault.Changed, Err: *err,
			Msg: fmt.Sprintf("somebody has changed %s, or the folder that it is in, meanwhile", name)}
	}
	xerr.Context(err, what)
}

// left says that something is left to the application that made it.
func left(name, what string) error {
	return &fault.Error{Msg: fmt.Sprintf("%s is %s", name, what), Hint: "that is left to the application that made it"}
}
