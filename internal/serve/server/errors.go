package server

import "fmt"

// DownError says that the server had to stop since it cannot learn any more what
// changes in the database.
type DownError struct{ Err error }

func (e *DownError) Error() string { return e.Err.Error() }
func (e *DownError) Unwrap() error { return e.Err }

// BugError says that the server had to stop because of a mistake in itself.
type BugError struct{ Err error }

func (e *BugError) Error() string { return e.Err.Error() }
func (e *BugError) Unwrap() error { return e.Err }

// AbortedError says that somebody has made the kernel give up the connection to
// the server, through the control filesystem of FUSE.
type AbortedError struct{ Dir string }

func (e *AbortedError) Error() string {
	return fmt.Sprintf("mount point %s: the FUSE connection was aborted by somebody; what used the mount gets ENOTCONN", e.Dir)
}
