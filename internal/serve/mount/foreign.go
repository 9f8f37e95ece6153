package mount

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// isForeign reports whether something with that owner is neither ours nor of
// nobody known. Root counts as another user.
func isForeign(uid int) bool { return uid >= 0 && uid != os.Geteuid() }

const foreignHint = "name a mount point of your own"

// foreign says that what is at dir belongs to another user.
func foreign(dir string, uid int) *fault.Error {
	return &fault.Error{Kind: fault.ForeignPoint, About: pointPrefix + dir, Hint: foreignHint,
		Msg: fmt.Sprintf("belongs to %s, and is not used by anybody else", UserName(uid))}
}

// foreignMount says that what is mounted on dir belongs to another user.
func foreignMount(dir string, uid int) *fault.Error {
	return &fault.Error{Kind: fault.Taken, About: pointPrefix + dir, Hint: foreignHint,
		Msg: fmt.Sprintf("the server there belongs to %s, and nobody else can use it", UserName(uid))}
}

// asForeign returns err if it says that something is another user's.
func asForeign(err error) *fault.Error {
	var e *fault.Error
	if fault.Is(err, fault.ForeignPoint) && errors.As(err, &e) {
		return e
	}
	return nil
}

// UserName returns the name of a user for messages.
func UserName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return "user " + u.Username
	}
	return "uid " + strconv.Itoa(uid)
}
