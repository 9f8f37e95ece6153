package mount

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookLimit is how long looking at one process may take. Reading about the
	// memory of a process waits for its page faults, and those for a server.
	lookLimit = time.Second

	// maxLooking is how many processes are looked at at a time: when a server does
	// not answer, many of its clients may be such that keep whoever looks waiting.
	maxLooking = 64

	// maxUses bounds what is told about one process.
	maxUses = 100
)

// User is a process that uses a mount.
type User struct {
	PID  int      `json:"pid"`
	Name string   `json:"name"` // as ps(1) shows it
	UID  int      `json:"uid"`
	Uses []string `json:"uses"` // cwd, root, exe, fd/N, mmap/RANGE
}

// Users returns the processes that use the mount, by ascending pid, without this
// one and probes. It sees those in containers too, and also those of a mount that
// was detached; of processes of other users only root gets to know. The mount is
// not touched. A process that cannot be looked at in time is left out.
//
// The kernel may give the number of a mount that is gone to another one. Once
// nobody uses it and it is not in the table, nothing can be said any more.
func (e Entry) Users() []User {
	pids := slices.DeleteFunc(Processes(), func(pid int) bool { return pid == os.Getpid() })
	users := make([]User, len(pids))
	var looking sync.WaitGroup
	turn := make(chan struct{}, maxLooking)
	for i, pid := range pids {
		turn <- struct{}{}
		looking.Go(func() {
			users[i] = e.User(pid)
			<-turn
		})
	}
	looking.Wait()
	return slices.DeleteFunc(users, func(u User) bool { return len(u.Uses) == 0 })
}

// User returns what process pid uses of the mount: nothing if Uses is empty.
func (e Entry) User(pid int) User {
	found := make(chan User, 1)
	// Whoever cannot be looked at keeps the goroutine; a fatal signal to this
	// process ends it.
	go func() {
		u := User{PID: pid}
		if u.Uses = e.uses(pid); len(u.Uses) > 0 {
			u.Name, u.UID = Name(pid), Owner(pid)
			if isProbe(pid) {
				u.Uses = nil
			}
		}
		found <- u
	}()
	select {
	case u := <-found:
		return u
	case <-time.After(lookLimit):
		return User{PID: pid}
	}
}

// Processes returns the ids of all processes.
func Processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return numbers(names)
}

func numbers(names []string) []int {
	var list []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

// Name returns the name of a process as ps(1) shows it, "" if it is gone.
func Name(pid int) string {
	text, _ := os.ReadFile(procPath(pid, "comm"))
	return strings.TrimSuffix(string(text), "\n")
}

func procPath(pid int, elem ...string) string {
	return filepath.Join(append([]string{"/proc", strconv.Itoa(pid)}, elem...)...)
}

// Owner returns the user of a process, -1 if it is gone.
func Owner(pid int) int {
	var st unix.Stat_t
	if err := unix.Stat(procPath(pid), &st); err != nil {
		return -1
	}
	return int(st.Uid)
}

// isProbe reports whether a process is the child of a Prober.
func isProbe(pid int) bool {
	text, _ := os.ReadFile(procPath(pid, "cmdline"))
	args := strings.Split(string(text), "\x00")
	return len(args) > 2 && args[1] == ProbeCommand
}

func (e Entry) uses(pid int) (uses []string) {
	if e.Device() == 0 { // that of memory which is no file
		return nil
	}
	for _, name := range []string{"cwd", "root", "exe"} {
		if e.has(procPath(pid, name)) {
			uses = append(uses, name)
		}
	}
	for _, fd := range FDs(pid) {
		if e.has(procPath(pid, "fd", strconv.Itoa(fd))) {
			uses = append(uses, fmt.Sprintf("fd/%d", fd))
		}
	}
	uses = append(uses, e.mapped(pid)...)
	return uses[:min(len(uses), maxUses)]
}

// has reports whether a link of /proc leads into the mount. Who asks for nothing
// and accepts what is cached gets the device number without any filesystem being
// asked, and also for a mount of another user.
func (e Entry) has(link string) bool {
	if path, err := os.Readlink(link); err != nil || !filepath.IsAbs(path) {
		return false // a socket, for instance
	}
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, 0, &st)
	return err == nil && int(st.Dev_major) == e.Major && int(st.Dev_minor) == e.Minor
}

// FDs returns the descriptors of a process; none if that is not permitted.
func FDs(pid int) []int {
	dir, err := os.Open(procPath(pid, "fdinfo"))
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return numbers(names)
}

// FDField returns a number that the kernel tells of a descriptor.
func FDField(pid, fd int, name string) (value int, ok bool) { return fdField(pid, fd, name, 10) }

func fdField(pid, fd int, name string, base int) (value int, ok bool) {
	text, err := os.ReadFile(procPath(pid, "fdinfo", strconv.Itoa(fd)))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if field, rest, _ := strings.Cut(line, ":"); field == name {
			n, err := strconv.ParseInt(strings.TrimSpace(rest), base, 64)
			return int(n), err == nil
		}
	}
	return 0, false
}

// FDIsPath reports whether a descriptor is for use in paths only (O_PATH).
func FDIsPath(pid, fd int) bool {
	flags, ok := fdField(pid, fd, "flags", 8)
	return ok && flags&unix.O_PATH != 0
}

// mapped returns the ranges of memory that are files of the mount.
func (e Entry) mapped(pid int) (uses []string) {
	maps, err := os.Open(procPath(pid, "maps"))
	if err != nil {
		return nil
	}
	defer maps.Close()
	device := fmt.Sprintf("%02x:%02x", e.Major, e.Minor)
	lines := bufio.NewScanner(maps)
	for lines.Scan() && len(uses) < maxUses {
		// range, permissions, offset, device, inode, path
		if fields := strings.Fields(lines.Text()); len(fields) > 3 && fields[3] == device {
			uses = append(uses, "mmap/"+fields[0])
		}
	}
	return uses
}
