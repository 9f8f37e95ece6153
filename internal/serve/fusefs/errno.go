package fusefs

import (
	"context"
	"errors"
	"syscall"

	"github.com/golang/glog"

	"github.com/wcfs/wcfs/internal/core/isolation"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var (
	// errNoName says that nothing can ever have that name: not an oid, not a view.
	// Clients never ask for that, but shells and people do. The name of an object
	// that is no file is EINVAL: clients rely on that.
	errNoName = errors.New("there can be nothing of that name")

	// errNotOurs refuses a client that could not be ended if it had to be.
	errNotOurs = errors.New("this server may not end the client, so the client cannot be told what to map")
)

// errno maps err to what the client is told, and logs what somebody besides
// the client should know. It is the only place that does either.
func (t *FS) errno(err error) syscall.Errno {
	if t.ctx.Err() != nil {
		return syscall.ENOTCONN // the server ends, which is not an interruption
	}
	code := classify(err)
	switch code {
	case syscall.EINVAL, syscall.EMFILE, syscall.EACCES:
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
	case errors.Is(err, errNoName):
		return syscall.ENOENT
	case errors.Is(err, errNotOurs):
		return syscall.EACCES
	case errors.As(err, &other), storage.IsNoData(err):
		return syscall.EINVAL
	case errors.As(err, &raw) && raw != syscall.EFBIG:
		return raw
	}
	return syscall.EIO
}
