package transfer

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// pollMillis is how long a read may go on after it was interrupted.
const pollMillis = 100

// Interruptible reads a file that may be a pipe until its context ends. The
// runtime could do that for a file in non-blocking mode, but the mode of the
// standard input is shared with other processes.
type Interruptible struct {
	Ctx context.Context
	F   *os.File
}

func (r *Interruptible) Read(p []byte) (int, error) {
	ready := []unix.PollFd{{Fd: int32(r.F.Fd()), Events: unix.POLLIN}}
	for {
		if err := r.Ctx.Err(); err != nil {
			return 0, err
		}
		n, err := unix.Poll(ready, pollMillis)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, os.NewSyscallError("poll", err)
		}
		if n > 0 {
			return r.F.Read(p)
		}
	}
}
