// Package proc is the way to other processes: it says what the kernel shows of them in
// /proc, by package procfs where that knows it. A Handle tells when a process has ended, and
// signals it, without ever hitting another that got its number.
//
// Package procfs knows neither locks, pending signals, stacks of the kernel, nor most fields
// of descriptors. It takes spaces off names and empty arguments off command lines, which
// belong to them, and reads all mappings of a process however many there are.
//
// A Handle is of a thread group, whatever thread it was asked for by. It is a
// pidfd that does not block (Linux 5.10), which the Go runtime polls: waiting takes
// no thread. Check tells whether the kernel has them.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Handle refers to one process. Its methods may be called from any goroutine,
// until Close.
type Handle struct {
	pid  int
	file *os.File
	conn syscall.RawConn
}

// OfThread returns a handle of the process that thread id belongs to. It fails
// with unix.ESRCH in the chain if there is none that is alive.
func OfThread(id int) (*Handle, error) {
	pid, err := groupOf(id)
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	h := &Handle{pid: pid, file: os.NewFile(uintptr(fd), fmt.Sprintf("pidfd:%d", pid))}
	if h.conn, err = h.file.SyscallConn(); err != nil {
		h.Close()
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	// The number could have been given to another process before it was opened:
	// then the thread is not one of its.
	if !h.HasThread(id) || h.ended() {
		h.Close()
		return nil, fmt.Errorf("open process %d of thread %d: %w", pid, id, unix.ESRCH)
	}
	return h, nil
}

// groupOf returns the thread group of a thread.
func groupOf(id int) (pid int, err error) {
	p, err := kernel.process(id)
	if err == nil {
		status, statusErr := p.NewStatus()
		pid, err = status.TGID, statusErr
	}
	if isGone(err) {
		err = unix.ESRCH
	}
	if err != nil {
		return 0, fmt.Errorf("find the process of thread %d: %w", id, err)
	}
	return pid, nil
}

// isGone reports whether an error of looking at a process or thread says that it is not
// there any more.
func isGone(err error) bool { return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// Pid returns the id of the thread group.
func (h *Handle) Pid() int { return h.pid }

// HasThread reports whether thread id belongs to the process.
func (h *Handle) HasThread(id int) bool {
	_, err := os.Stat(string(kernel.threads(h.pid).path(id)))
	return err == nil
}

// Doomed reports whether the process runs nothing of its own any more, although
// it has not ended: each of its threads has to handle SIGKILL before it returns to
// the program (exit_to_user_mode_loop in kernel/entry/common.c of Linux), or is
// ending. It may stay so for long when a thread waits in the kernel.
func (h *Handle) Doomed() bool {
	if h.ended() {
		return true
	}
	tids, err := numbers(string(kernel.threads(h.pid)))
	return err == nil && !slices.ContainsFunc(tids, func(id int) bool { return !ThreadIsDying(id) })
}

// ThreadIsDying reports whether thread id will not return to its program: SIGKILL
// is pending for it, or it is ending, or has ended.
func ThreadIsDying(id int) bool { return kernel.isDying(id) }

func (r root) isDying(id int) bool {
	stat, err := r.stat(id)
	if err != nil {
		return isGone(err)
	}
	return stat.Flags&exiting != 0 || stat.State == "Z" || stat.State == "X" || r.killPending(id)
}

// exiting is PF_EXITING of include/linux/sched.h of Linux.
const exiting = 0x4

// killPending reports whether SIGKILL is pending for a thread. The kernel makes it
// pending for every thread of a process that a signal ends (complete_signal in
// kernel/signal.c).
func (r root) killPending(id int) bool {
	text, _ := field(r.path(id, "status"), "SigPnd")
	pending, err := strconv.ParseUint(text, 16, 64)
	return err == nil && pending&(1<<(unix.SIGKILL-1)) != 0
}

// Signal sends a signal. It fails with unix.ESRCH if the process has ended.
func (h *Handle) Signal(sig syscall.Signal) error {
	var failed error
	err := h.conn.Control(func(fd uintptr) { failed = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	return errors.Join(err, failed)
}

// ended reports whether the process has ended: a pidfd is readable from then on,
// also while the process is a zombie.
func (h *Handle) ended() (ended bool) {
	err := h.conn.Control(func(fd uintptr) { ended = readable(fd) })
	return err == nil && ended
}

func readable(fd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}

// Wait returns nil once the process has ended, and the error of ctx if that
// ends first. There may be one Wait at a time.
func (h *Handle) Wait(ctx context.Context) error {
	if err := h.file.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("wait for process %d: %w", h.pid, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = h.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err := h.conn.Read(readable)
	switch {
	case err == nil || h.ended():
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("wait for process %d: %w", h.pid, err)
}

// Close gives up the handle.
func (h *Handle) Close() { _ = h.file.Close() }
