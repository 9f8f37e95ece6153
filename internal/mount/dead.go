package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// FSType is how mountinfo shows our mounts.
const FSType = "fuse.wcfs"

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
	fstype, _, err := What(dir)
	if err != nil || fstype != FSType {
		return false
	}
	return errors.Is(Prober{Limit: answerTimeout}.statfs(context.Background(), dir), unix.ENOTCONN)
}

func detach(dir string) error { return unmount(dir, unix.MNT_DETACH) }

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
