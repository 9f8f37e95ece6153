package zwrite

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// checkNobodyWrites returns *LockedError if somebody has the data file open for
// writing, or has locked it by a name that nobody told us. f is the file opened for
// reading; this process has it not open for writing.
func checkNobodyWrites(path string, f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	lease := canBeLeased(f, unix.F_RDLCK)
	if lease != isFree {
		if pid, name := findUser(fi, true); pid != 0 || lease == isBusy {
			return &LockedError{Path: path, Pid: pid, Name: name}
		}
	}
	if pid, name := findLock(path, fi); pid != 0 {
		return &LockedError{Path: path, Pid: pid, Name: name}
	}
	return nil
}

// nobodyHas reports that no other process has the file open, as far as one can see.
func nobodyHas(f *os.File) bool {
	fi, err := f.Stat()
	if err != nil || canBeLeased(f, unix.F_WRLCK) == isBusy {
		return false
	}
	pid, _ := findUser(fi, false)
	return pid == 0
}

// leaseAnswer says what the kernel thinks of a lease.
type leaseAnswer int

const (
	isFree leaseAnswer = iota
	isBusy
	isUnknown // we are not the owner, or the filesystem has none
)

// canBeLeased asks the kernel whether a file is open: it gives no lease for reading if
// anybody has it open for writing, and none for writing if anybody else has it open
// at all, whatever the name, the user and the namespace. See F_SETLEASE in fcntl(2).
func canBeLeased(f *os.File, kind int) leaseAnswer {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, kind)
	switch {
	case err == nil:
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
		return isFree
	case errors.Is(err, unix.EAGAIN):
		return isBusy
	}
	return isUnknown
}

// findUser finds another process that has a file open, for writing if so asked, and
// the name that it has for it. Processes of other users are only seen by root.
func findUser(fi os.FileInfo, writing bool) (pid int, name string) {
	procs, _ := procfs.AllProcs()
	for _, p := range procs {
		if p.PID == os.Getpid() {
			continue
		}
		fds, _ := p.FileDescriptors()
		for _, fd := range fds {
			link := ofProcess(p, "fd", fd)
			if isSame(link, fi) && (!writing || isWritable(p, fd)) {
				name, _ := os.Readlink(link)
				return p.PID, name
			}
		}
	}
	return 0, ""
}

// ofProcess returns where the kernel tells something about a descriptor.
func ofProcess(p procfs.Proc, dir string, fd uintptr) string {
	return fmt.Sprintf("/proc/%d/%s/%d", p.PID, dir, fd)
}

// isSame reports whether path is that file. It asks no server of the filesystem, which
// may hang.
func isSame(path string, fi os.FileInfo) bool {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st) != nil {
		return false
	}
	dev, ino := fileID(fi)
	return st.Ino == ino && unix.Mkdev(st.Dev_major, st.Dev_minor) == dev
}

func isWritable(p procfs.Proc, fd uintptr) bool {
	info, err := p.FDInfo(fmt.Sprint(fd))
	if err != nil {
		return false
	}
	flags, err := strconv.ParseUint(info.Flags, 8, 64)
	return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY
}

// findLock finds another process that has the lock beside another name of the data
// file, which it may be about to open. Package procfs does not read the table of locks.
func findLock(path string, fi os.FileInfo) (pid int, name string) {
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0, ""
	}
	defer f.Close()
	seen := map[int]bool{os.Getpid(): true}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		pid, ok := holderOf(lines.Text())
		if !ok || seen[pid] {
			continue
		}
		seen[pid] = true
		p, err := procfs.NewProc(pid)
		if err != nil {
			continue // it has ended
		}
		fds, _ := p.FileDescriptors()
		for _, fd := range fds {
			link, _ := os.Readlink(ofProcess(p, "fd", fd))
			name, ok := strings.CutSuffix(link, lockSuffix)
			if ok && name != path && isSame(fmt.Sprintf("/proc/%d/root%s", pid, name), fi) && hasLock(p, fd) {
				return pid, name
			}
		}
	}
	return 0, ""
}

// holderOf returns the process of a line of /proc/locks, see proc_locks(5).
func holderOf(line string) (pid int, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[1] == "->" {
		return 0, false
	}
	pid, err := strconv.Atoi(fields[4])
	return pid, err == nil && pid > 0
}

// hasLock reports whether a descriptor has a lock, of which package procfs does not know.
func hasLock(p procfs.Proc, fd uintptr) bool {
	info, err := os.ReadFile(ofProcess(p, "fdinfo", fd))
	return err == nil && strings.Contains(string(info), "\nlock:")
}
