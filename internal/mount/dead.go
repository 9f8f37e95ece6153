package mount

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// fsType is how mountinfo shows our mounts.
const fsType = "fuse.wcfs"

// answerTimeout is how long a mount may take to say that its server is alive.
const answerTimeout = time.Second

// clearDead detaches what servers that were killed have left on dir, so that one
// can be started again. It fails as checkNotMounted does if anything else is
// mounted there.
func clearDead(dir string) (cleared bool, err error) {
	for isDead(dir) {
		if err := detach(dir); err != nil {
			return false, &Error{Reason: AlreadyMounted, Dir: dir, Err: err,
				Msg:  fmt.Sprintf("still has the mount of a dead server: %s", err),
				Hint: "unmount it: umount -l " + dir}
		}
		cleared = true
	}
	return cleared, checkNotMounted(dir)
}

// isDead reports whether a mount of ours is on dir that nobody serves any more.
func isDead(dir string) bool {
	entries, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	if err != nil || len(entries) == 0 || entries[len(entries)-1].FSType != fsType {
		return false
	}
	answer := make(chan error, 1)
	// A server that hangs keeps the goroutine; Prepare fails then, and the
	// process ends.
	go func() {
		var st unix.Statfs_t
		answer <- unix.Statfs(dir, &st)
	}()
	select {
	case err := <-answer:
		return errors.Is(err, unix.ENOTCONN)
	case <-time.After(answerTimeout):
		return false
	}
}

func detach(dir string) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(dir, unix.MNT_DETACH)
	}
	helper, err := findFusermount()
	if err != nil {
		return err
	}
	return runFusermountUnmount(helper, dir, unix.MNT_DETACH)
}
