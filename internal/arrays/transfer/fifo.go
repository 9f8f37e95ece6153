package transfer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// fifoPoll is how long it may take to notice the other end of a FIFO, or that
// nobody waits for it any more.
const fifoPoll = 50 * time.Millisecond

// openFile opens a file for reading. With a FIFO it waits for who writes it, which
// the end of ctx ends: os.Open would wait whatever happens.
func openFile(ctx context.Context, path string) (*os.File, error) {
	if !isFIFO(path) {
		return os.Open(path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := waitWriter(ctx, f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// waitWriter waits until a FIFO has data, or had a writer. Before that a read would
// be at the end, but poll has no event.
func waitWriter(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn() // Fd would make the file a blocking one
	if err != nil {
		return err
	}
	for {
		n := 0
		ctlErr := raw.Control(func(fd uintptr) {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(fifoPoll/time.Millisecond))
		})
		switch {
		case ctlErr != nil:
			return ctlErr
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, unix.EINTR):
			return os.NewSyscallError("poll", err)
		case n > 0:
			return nil
		}
	}
}

// OpenPipe opens a file that is no plain one for writing. With a FIFO it waits for
// who reads it. The end of ctx ends that, and writes that wait.
func OpenPipe(ctx context.Context, path string) (*os.File, error) {
	flags := os.O_WRONLY
	if isFIFO(path) {
		flags |= unix.O_NONBLOCK
	}
	for {
		f, err := os.OpenFile(path, flags, 0)
		if err == nil {
			context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) }) // other files have none
			return f, nil
		}
		if !errors.Is(err, unix.ENXIO) || flags == os.O_WRONLY {
			return nil, err
		}
		select { // nobody reads it yet
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(fifoPoll):
		}
	}
}

func isFIFO(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode()&fs.ModeNamedPipe != 0
}
