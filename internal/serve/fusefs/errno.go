package fusefs

import (
	"context"
	"errors"
	"syscall"

	"github.com/golang/glog"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var (
	// errNoName says that nothing can ever have that name: not an oid, not a view.
	// Clients never ask for that, but shells and people do. The name of an object
	// that is no file is EINVAL: clients rely on that.
	errNoName = &fault.Error{Kind: fault.NoName, Msg: "there can be nothing of that name"}

	// errNotOurs refuses a client that could not be ended if it had to be.
	errNotOurs = &fault.Error{Kind: fault.NotOurs, Msg: "this server may not end the client, so the client cannot be told what to map"}
)

// errno maps err to what the client is told, and logs what somebody besides the client
// should know. All errors about files and names come here. Files that are no data answer by
// themselves: watchHandle, which logs nothing since its link does, streams, and files of
// figures (snapshotNode).
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

// classify returns the errno of the kind of err. Errors that come from other libraries have
// no kind.
func classify(err error) syscall.Errno {
	var raw syscall.Errno
	switch errno := fault.Of(err).Errno(); {
	case err == nil:
		return 0
	case errno != 0:
		return errno
	case errors.Is(err, context.Canceled):
		return syscall.EINTR
	case storage.IsNoData(err):
		return fault.NotFile.Errno()
	case errors.As(err, &raw) && raw != syscall.EFBIG:
		return raw
	}
	return syscall.EIO
}
