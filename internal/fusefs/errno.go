package fusefs

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/golang/glog"

	"github.com/wcfs/wcfs/internal/bigfile"
	"github.com/wcfs/wcfs/internal/isolation"
	"github.com/wcfs/wcfs/internal/storage"
)

// errInvalid is what clients should not have asked for. Unknown names are
// EINVAL, not ENOENT: clients rely on that.
var (
	errInvalid = errors.New("invalid argument")
	errNotRev  = fmt.Errorf("%w: not @rev", errInvalid)
	errNotOid  = fmt.Errorf("%w: not oid", errInvalid)
)

// errno maps err to what the client is told, and logs what somebody besides
// the client should know. It is the only place that does either.
func (t *FS) errno(err error) syscall.Errno {
	if t.ctx.Err() != nil {
		return syscall.ENOTCONN // the server ends, which is not an interruption
	}
	code := classify(err)
	switch code {
	case syscall.EINVAL, syscall.EMFILE:
		t.faults.log(err, glog.WarningDepth)
	case syscall.EIO:
		t.faults.log(err, glog.ErrorDepth)
	}
	return code
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
	case errors.Is(err, isolation.ErrTooManyLinks):
		return syscall.EMFILE
	case errors.Is(err, errInvalid), errors.As(err, &other), storage.IsNoData(err):
		return syscall.EINVAL
	case errors.As(err, &raw) && raw != syscall.EFBIG:
		return raw
	}
	return syscall.EIO
}
