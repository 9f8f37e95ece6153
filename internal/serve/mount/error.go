package mount

import "fmt"

// Reason classifies why a mount failed.
type Reason int

const (
	BadMountpoint  Reason = iota // missing, not a directory, not empty, in use
	AlreadyMounted               // something is mounted there already
	NoDevice                     // no /dev/fuse, or no permission to mount
	NoFeature                    // the kernel is too old
)

// Error says why something could not be mounted: what is wrong and what to do.
type Error struct {
	Reason  Reason
	Dir     string // mount point, may be empty
	Msg     string // what is wrong
	Hint    string // what to do, may be empty
	Err     error  // cause, may be nil; not part of the text
	Foreign bool   // the place is another user's; there may be another place
}

func (e *Error) Error() string {
	text := e.Msg
	if e.Dir != "" {
		text = fmt.Sprintf("mount point %s: %s", e.Dir, e.Msg)
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }
