package main

import (
	"errors"
	"syscall"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/arrays/demo"
	"github.com/wcfs/wcfs/internal/arrays/transfer"
	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/server"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// Exit codes. They are a promise to scripts: a number is never given another
// meaning. README.rst and the help of serve list them.
const (
	exitOK          = 0
	exitOther       = 1  // anything that has no code of its own
	exitUsage       = 2  // the command line cannot be understood
	exitMounted     = 3  // something is mounted at the mount point already
	exitNotRunning  = 4  // no server runs there
	exitMountpoint  = 5  // the mount point is missing, no directory, not empty
	exitUnreachable = 6  // the database does not exist or cannot be read
	exitDatabase    = 7  // it is there but is not a database, or is damaged
	exitKernel      = 8  // the kernel is too old, or does not permit what is needed
	exitFUSE        = 9  // no /dev/fuse, or no permission to mount
	exitStuck       = 10 // the server does not answer
	exitClients     = 11 // stopped, but clients had to be ended
	exitURL         = 12 // no driver for this kind of url, or the url is malformed
	exitExists      = 13 // there is something of that name already
	exitNoSpace     = 14 // the disk or quota is full, or a limit reached; nothing was written
	exitNotFound    = 15 // the database has nothing of that name or oid, or no such view
	exitLocked      = 16 // another writer has the database
	exitInput       = 17 // what is to be imported cannot be used
	exitAborted     = 18 // somebody aborted the FUSE connection of the server
	exitBug         = 70 // a bug in wcfs
)

const exitCodesHelp = `Exit codes: 0 ok, 1 other failure, 2 wrong usage, 3 already mounted, 4 not
running, 5 mount point unusable, 6 database unreachable, 7 not a database or
damaged, 8 kernel too old or too strict, 9 FUSE not available or not permitted,
10 server stuck, 11 clients had to be ended, 12 unsupported url, 13 name exists
already, 14 disk full, 15 nothing of that name, 16 database locked by another
writer, 17 input file unusable, 18 FUSE connection aborted, 70 bug in wcfs.`

// usageError says that the command line is wrong.
type usageError struct {
	msg  string
	text string // printed after the message; may be empty
}

func (e *usageError) Error() string { return e.msg }

// exitCode maps an error to the exit code. It is the only place that does.
func exitCode(err error) int {
	var (
		mountErr *mount.Error
		openErr  *storage.OpenError
		operated *control.Error
		ended    *control.ServeError
		served   *demo.ServerError
	)
	switch {
	case err == nil:
		return exitOK
	case is[*usageError](err), is[*catalog.TimeError](err):
		return exitUsage
	case is[*catalog.NotFoundError](err), is[*catalog.WrongKindError](err), is[*storage.FutureViewError](err):
		return exitNotFound
	case is[*transfer.InputError](err):
		return exitInput
	case is[*transfer.ExistsError](err):
		return exitExists
	case is[*zwrite.LockedError](err), is[*transfer.ChangedError](err):
		return exitLocked
	case is[*zwrite.DamageError](err), is[*storage.CorruptError](err), is[*damagedError](err):
		return exitDatabase
	case is[*zwrite.UncertainError](err): // whatever the cause: it is committed
		return exitOther
	case noSpace(err) != "":
		return exitNoSpace
	case is[*zwrite.LostError](err):
		return exitUnreachable
	case errors.As(err, &mountErr):
		return mountExitCode(mountErr.Reason)
	case errors.As(err, &openErr):
		return openExitCode(openErr.Reason)
	case errors.As(err, &operated):
		return controlExitCode(operated.Kind)
	case errors.As(err, &ended):
		return ended.Code // the server has mapped it
	case errors.As(err, &served) && served.Code > 0:
		return served.Code // likewise
	case is[*server.AbortedError](err):
		return exitAborted
	case is[*server.BugError](err), is[*demo.WrongError](err):
		return exitBug
	}
	return exitOther
}

// noSpace returns what to do about an error that says that nothing more can be written,
// "" if it does not.
func noSpace(err error) (advice string) {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "make room and try again"
	case errors.Is(err, syscall.EDQUOT):
		return "make room within the quota of its owner, and try again"
	case errors.Is(err, syscall.EFBIG):
		return "it would be larger than ulimit -f, or the filesystem, permits"
	}
	return ""
}

// is reports whether there is an E in the chain of err.
func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func controlExitCode(kind control.Kind) int {
	switch kind {
	case control.NotRunning:
		return exitNotRunning
	case control.AlreadyRunning, control.Taken:
		return exitMounted
	case control.Stuck:
		return exitStuck
	case control.ClientsEnded:
		return exitClients
	case control.Ambiguous:
		return exitUsage
	}
	return exitOther // Foreign, Unhealthy, LeftOver, Covered
}

func mountExitCode(reason mount.Reason) int {
	switch reason {
	case mount.AlreadyMounted:
		return exitMounted
	case mount.BadMountpoint:
		return exitMountpoint
	case mount.NoFeature:
		return exitKernel
	}
	return exitFUSE
}

func openExitCode(reason storage.OpenReason) int {
	switch reason {
	case storage.Unreachable:
		return exitUnreachable
	case storage.NotADatabase:
		return exitDatabase
	}
	return exitURL
}
