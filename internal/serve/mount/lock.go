package mount

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/serve/proc"
)

// lock makes sure that of several servers that start on the directory at the same
// time one goes on. The lock is on the directory itself, below the mount to come:
// it needs no file, and the kernel lets go of it with the process. The error is
// unix.EWOULDBLOCK while another server has it.
//
// A user who may open a directory may lock it. So the lock of a process of
// another user does not count: the check before mount(2) has to do then, as on
// filesystems that cannot lock. When the caller has waited in vain, being late,
// that of a process which is gone does not count either: its lock is in the hands
// of a child, which is nothing that servers do.
func (d *directory) lock(late bool) error {
	err := unix.Flock(int(d.self.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK && !d.isLockedByOthers(late) {
		return err
	}
	return nil
}

// isLockedByOthers reports whether it is known of all who have locked the
// directory that they are no servers of ours.
func (d *directory) isLockedByOthers(late bool) bool {
	var st unix.Stat_t
	if unix.Fstat(int(d.self.Fd()), &st) != nil {
		return false
	}
	holders := proc.Lockers(&st)
	for _, pid := range holders {
		switch uid := proc.RealUser(pid); {
		case uid == -1 && late:
		case uid == os.Geteuid(), uid <= 0:
			return false
		}
	}
	return len(holders) > 0
}
