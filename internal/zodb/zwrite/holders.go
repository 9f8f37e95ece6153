package zwrite

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

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
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, ""
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		for _, fd := range filesOf(dir) {
			link := filepath.Join(dir, "fd", fd)
			if isSame(link, fi) && (!writing || isWritable(dir, fd)) {
				name, _ := os.Readlink(link)
				return pid, name
			}
		}
	}
	return 0, ""
}

// filesOf returns the numbers of open files of a process.
func filesOf(proc string) []string {
	dir, err := os.Open(filepath.Join(proc, "fd"))
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return names
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

func isWritable(proc, fd string) bool {
	info, err := os.ReadFile(filepath.Join(proc, "fdinfo", fd))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(info)) {
		if text, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(text), 8, 64)
			return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return false
}

// findLock finds another process that has the lock beside another name of the data
// file, which it may be about to open.
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
		proc := fmt.Sprintf("/proc/%d", pid)
		for _, fd := range filesOf(proc) {
			link, _ := os.Readlink(filepath.Join(proc, "fd", fd))
			name, ok := strings.CutSuffix(link, lockSuffix)
			if ok && name != path && isSame(proc+"/root"+name, fi) && hasLock(proc, fd) {
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

func hasLock(proc, fd string) bool {
	info, err := os.ReadFile(filepath.Join(proc, "fdinfo", fd))
	return err == nil && strings.Contains(string(info), "\nlock:")
}
