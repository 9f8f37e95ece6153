package fusefs

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/golang/glog"

	"github.com/wcfs/wcfs/internal/bigfile"
	"github.com/wcfs/wcfs/internal/storage"
)

// errInvalid is what clients should not have asked for. Unknown names are
// EINVAL, not ENOENT: clients rely on that.
var (
	errInvalid = errors.New("invalid argument")
	errNotRev  = fmt.Errorf("%w: not @rev", errInvalid)
	errNotOid  = fmt.Errorf("%w: not oid", errInvalid)
)

// Warnings about what clients ask for are bounded, so that nobody can fill the
// disk of the log.
const (
	warnPerSecond = 10
	warnBurst     = 1000
)

// errno maps err to what the client is told, and logs what somebody besides
// the client should know. It is the only place that does either.
func (t *FS) errno(err error) syscall.Errno {
	if t.ctx.Err() != nil {
		return syscall.ENOTCONN // the server ends, which is not an interruption
	}
	code := classify(err)
	switch code {
	case syscall.EINVAL:
		t.warn(err)
	case syscall.EIO:
		glog.ErrorDepth(1, err)
	}
	return code
}

// warn logs err unless there were many warnings just now.
func (t *FS) warn(err error) {
	if !t.warnings.Allow() {
		t.unsaid.Add(1)
		return
	}
	glog.WarningDepth(2, err)
	if n := t.unsaid.Swap(0); n > 0 {
		glog.Warningf("before that: %d warnings about other requests", n)
	}
}

func classify(err error) syscall.Errno {
	var (
		damaged *storage.CorruptError
		future  *storage.FutureViewError
		other   *bigfile.NotBigFileError
		raw     syscall.Errno
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &damaged):
		return syscall.EIO // also if it refers to what does not exist
	case errors.Is(err, context.Canceled):
		return syscall.EINTR
	case errors.As(err, &future):
		return syscall.ENOENT // there is no such view yet
	case errors.Is(err, errInvalid), errors.As(err, &other), storage.IsNoData(err):
		return syscall.EINVAL
	case errors.As(err, &raw) && raw != syscall.EFBIG:
		return raw
	}
	return syscall.EIO
}
