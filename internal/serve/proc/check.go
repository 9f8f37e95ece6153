package proc

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MissingError says that processes cannot be held on to here.
type MissingError struct {
	Call      string // system call
	Forbidden bool   // the kernel may have it, but does not permit it
	Err       error
}

func (e *MissingError) Error() string {
	if e.Forbidden {
		return fmt.Sprintf("%s(2) is not permitted (%s)", e.Call, e.Err)
	}
	return fmt.Sprintf("the kernel has no %s(2) as it is needed (%s)", e.Call, e.Err)
}

func (e *MissingError) Unwrap() error { return e.Err }

// Check finds out whether the kernel has what Handles are made of, and permits it.
// It tries that on the process itself. The error is a *MissingError, or says that
// /proc is missing.
func Check() error {
	var uts unix.Utsname
	modern := unix.Uname(&uts) == nil && isModern(unix.ByteSliceToString(uts.Release[:]))
	missing := func(call string, err error) error {
		return &MissingError{Call: call, Forbidden: modern || errors.Is(err, unix.EPERM), Err: err}
	}
	fd, err := unix.PidfdOpen(os.Getpid(), unix.PIDFD_NONBLOCK)
	if err != nil {
		return missing("pidfd_open", err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); err != nil {
		return missing("pidfd_send_signal", err)
	}
	h, err := OfThread(os.Getpid())
	if err != nil {
		return fmt.Errorf("look at processes in /proc: %w", err)
	}
	defer h.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Wait(ctx); !errors.Is(err, context.Canceled) {
		return missing("poll", fmt.Errorf("waiting for a process: %w", err))
	}
	return nil
}

// isModern reports whether a kernel release is that of Linux 5.10 or newer, which
// has PIDFD_NONBLOCK: see pidfd_open(2).
func isModern(release string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 5 || major == 5 && minor >= 10
}
