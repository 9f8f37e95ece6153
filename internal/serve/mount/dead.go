package mount

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/serve/proc"
)

// FSType is how mountinfo shows our mounts.
const FSType = "fuse.wcfs"

const (
	// answerTimeout is how long a mount may take to say that its server is alive.
	answerTimeout = time.Second

	// settleTime is how long a server goes on answering after it was told to end:
	// until it has noticed.
	settleTime = 200 * time.Millisecond
)

// Stopping is what statfs(2) of a mount says when its server is ending.
const Stopping = unix.ESHUTDOWN

// Condition says how the server of a mount is.
type Condition int

const (
	Alive    Condition = iota // it answers, and goes on
	Ending                    // it is about to go
	Dead                      // it is gone, and its mount is left
	Silent                    // it does not answer
	Vanished                  // nothing of ours is mounted there any more
)

// Condition finds out how the server of the mount on dir is. It takes settleTime
// to be sure that one is alive. The mount must be our own: the kernel answers for
// those of other users (fuse_statfs of Linux).
func (p Prober) Condition(ctx context.Context, dir string) Condition {
	c := p.condition(ctx, dir, dir)
	if c != Alive {
		return c
	}
	select {
	case <-time.After(settleTime):
	case <-ctx.Done():
	}
	return p.condition(ctx, dir, dir)
}

// condition asks the mount on dir, by some path of it.
func (p Prober) condition(ctx context.Context, dir, path string) Condition {
	if fstype, _, err := On(dir); err == nil && fstype != FSType {
		return Vanished
	}
	err := p.statfs(ctx, path)
	var silent *StuckError
	switch {
	case errors.As(err, &silent):
		return Silent
	case errors.Is(err, unix.ENOTCONN):
		return Dead
	case errors.Is(err, Stopping), errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.ENOENT), ctx.Err() != nil:
		return Ending
	}
	return Alive
}

// detachDead takes away a mount that nobody serves any more, and nothing that has
// been mounted instead of it meanwhile: the descriptor stands for one mount. Through
// fusermount3 there is only the path, so there it is looked at once more.
func detachDead(ctx context.Context, dir string) error {
	mounted, err := openPath(unix.AT_FDCWD, dir, unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer mounted.Close()
	same := proc.Path(os.Getpid(), "fd", strconv.Itoa(int(mounted.Fd()))) // for a child
	if (Prober{Limit: answerTimeout}).condition(ctx, dir, same) != Dead {
		return nil // somebody else was faster
	}
	if os.Geteuid() != 0 {
		return unmount(dir, unix.MNT_DETACH)
	}
	return unix.Unmount(selfFD(mounted), unix.MNT_DETACH)
}

// unmount takes off what is mounted on dir: root by itself, others through
// fusermount3. The last element of dir is not followed, nor asked of the mount.
func unmount(dir string, flags int) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(dir, unix.UMOUNT_NOFOLLOW|flags)
	}
	helper, err := findFusermount()
	if err != nil {
		return err
	}
	return runFusermountUnmount(helper, dir, flags)
}
