package proc

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Processes returns the ids of all processes.
func Processes() []int {
	pids, _ := numbers(string(kernel))
	return pids
}

// Threads returns the threads of a process, none if it is gone.
func Threads(pid int) []int {
	tids, _ := numbers(string(kernel.threads(pid)))
	return tids
}

// Path returns where the kernel tells something about a process or thread.
func Path(id int, elem ...string) string { return kernel.path(id, elem...) }

// Name returns the name of a process or thread as ps(1) shows it, "" if it is gone.
func Name(id int) string {
	name, _ := os.ReadFile(kernel.path(id, "comm"))
	return strings.TrimSuffix(string(name), "\n")
}

// Args returns the command line of a process. It may wait for page faults of the process.
func Args(pid int) []string {
	text, _ := os.ReadFile(kernel.path(pid, "cmdline"))
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// State returns the state of a process or thread, a letter as in ps(1), "" if it is gone.
func State(id int) string {
	stat, _ := kernel.stat(id)
	return stat.State
}

// Parent returns the parent of a process, 0 if there is none, or the process is gone.
func Parent(pid int) int {
	stat, _ := kernel.stat(pid)
	return stat.PPID
}

// Start returns when a process was started, in ticks since the boot, "" if it is gone. With
// the pid it tells processes apart.
func Start(pid int) string {
	stat, err := kernel.stat(pid)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(stat.Starttime, 10)
}

// ticks is how many there are in a second in /proc: USER_HZ, the same on all
// architectures Go knows.
const ticks = 100

// StartTime returns when a process was started, the zero time if that is not known.
func StartTime(pid int) time.Time {
	stat, err := kernel.stat(pid)
	var sinceBoot unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &sinceBoot) != nil {
		return time.Time{}
	}
	age := time.Duration(sinceBoot.Nano()) - time.Duration(stat.Starttime)*time.Second/ticks
	return time.Now().Add(-age).Truncate(time.Second)
}

// Owner returns the user of a process, -1 if it is gone.
func Owner(pid int) int {
	var st unix.Stat_t
	if err := unix.Stat(kernel.path(pid), &st); err != nil {
		return -1
	}
	return int(st.Uid)
}

// RealUser returns the user that started a process, whatever rights it has got since; -1
// if it is gone.
func RealUser(pid int) int {
	p, err := kernel.process(pid)
	if err != nil {
		return -1
	}
	status, err := p.NewStatus()
	if err != nil {
		return -1
	}
	return int(status.UIDs[0])
}

// Wchan returns what a thread waits for in the kernel, "" or "0" if nothing.
func Wchan(tid int) string {
	wchan, _ := os.ReadFile(kernel.path(tid, "wchan"))
	return string(wchan)
}

// Stack returns the functions of the kernel that a thread is in, innermost first. Only root
// gets to know them.
func Stack(tid int) []string {
	frames := []string{}
	text, _ := os.ReadFile(kernel.path(tid, "stack"))
	for line := range strings.Lines(string(text)) {
		_, frame, _ := strings.Cut(strings.TrimSpace(line), "] ") // [<0>] function+0x1/0x2
		frames = append(frames, frame)
	}
	return frames
}

// FDs returns the descriptors of a process; none if that is not permitted.
func FDs(pid int) []int {
	fds, _ := numbers(kernel.path(pid, "fdinfo"))
	return fds
}

// FDTarget returns what a descriptor leads to.
func FDTarget(pid, fd int) (string, error) {
	return os.Readlink(kernel.path(pid, "fd", strconv.Itoa(fd)))
}

// FDField returns a number that the kernel tells of a descriptor, see proc_pid_fdinfo(5).
func FDField(pid, fd int, name string) (value int, ok bool) { return fdField(pid, fd, name, 10) }

func fdField(pid, fd int, name string, base int) (value int, ok bool) {
	text, ok := field(kernel.path(pid, "fdinfo", strconv.Itoa(fd)), name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, base, 64)
	return int(n), err == nil
}

// FDIsPath reports whether a descriptor is for use in paths only (O_PATH).
func FDIsPath(pid, fd int) bool {
	flags, ok := fdField(pid, fd, "flags", 8)
	return ok && flags&unix.O_PATH != 0
}

// field returns what a file says behind a name and a colon.
func field(file, name string) (value string, ok bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(text)) {
		if key, rest, ok := strings.Cut(line, ":"); ok && key == name {
			return strings.TrimSpace(rest), true
		}
	}
	return "", false
}

// Mapped returns the first ranges of memory of a process that are files of a device, most
// at most.
func Mapped(pid int, major, minor int, most int) (ranges []string) {
	maps, err := os.Open(kernel.path(pid, "maps"))
	if err != nil {
		return nil
	}
	defer maps.Close()
	device := fmt.Sprintf("%02x:%02x", major, minor)
	lines := bufio.NewScanner(maps)
	for lines.Scan() && len(ranges) < most {
		// range, permissions, offset, device, inode, path
		if fields := strings.Fields(lines.Text()); len(fields) > 3 && fields[3] == device {
			ranges = append(ranges, fields[0])
		}
	}
	return ranges
}

// Lockers returns the processes that have a flock(2) on a file, as far as the table of
// locks shows them: see proc_locks(5).
func Lockers(st *unix.Stat_t) []int { return lockers(string(kernel)+"/locks", st) }

func lockers(table string, st *unix.Stat_t) (pids []int) {
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
