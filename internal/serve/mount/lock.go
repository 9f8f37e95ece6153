package mount

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lock makes sure that of several servers that start on the directory at the same
// time one goes on. The lock is on the directory itself, below the mount to come:
// it needs no file, and the kernel lets go of it with the process. The error is
// unix.EWOULDBLOCK while another server has it.
//
// Whoever may open a directory may lock it. So the lock of a process of another
// user does not count: the check before mount(2) has to do then, as on
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
	holders := lockHolders("/proc/locks", &st)
	for _, pid := range holders {
		switch uid := realUser(pid); {
		case uid == -1 && late:
		case uid == os.Geteuid(), uid <= 0:
			return false
		}
	}
	return len(holders) > 0
}

// lockHolders returns the processes that have a flock(2) on the file st, as far as
// the table of locks shows them: see proc_locks(5).
func lockHolders(table string, st *unix.Stat_t) (pids []int) {
	f, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer f.Close()
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// number, FLOCK, ADVISORY, WRITE, pid, file, range; waiters have -> before FLOCK
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != file {
			continue
		}
		if pid, err := strconv.Atoi(fields[4]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// realUser returns the user that started a process, whatever rights it has got
// since; -1 if it is gone.
func realUser(pid int) int {
	f, err := os.Open(procPath(pid, "status"))
	if err != nil {
		return -1
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "Uid:"); ok {
			uid, err := strconv.Atoi(strings.Fields(value)[0])
			if err == nil {
				return uid
			}
		}
	}
	return -1
}
