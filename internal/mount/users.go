package mount

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookLimit is how long looking at one process may take. Reading about the
	// memory of a process waits for its page faults, and those for a server.
	lookLimit = time.Second

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

// Finder finds who uses a mount, also in containers and also after it was
// detached, without ever touching it. Its methods are for one goroutine.
//
// The kernel may give the id of a mount that is gone to another one. So once the
// mount is not in the table any more, only those who were found before count.
type Finder struct {
	entry Entry
	ids   map[string][]int // mount namespace -> ids of the mount there
}

// NewFinder returns a Finder for a mount that is there.
func NewFinder(e Entry) *Finder {
	f := &Finder{entry: e, ids: map[string][]int{}}
	f.idsFor(os.Getpid())
	return f
}

// Users returns the processes that use the mount, by ascending pid, without
// this one and probes. Of processes of other users only root gets to know. A
// process that cannot be looked at in time is left out.
func (f *Finder) Users() []User {
	var users []User
	for _, pid := range Processes() {
		if pid == os.Getpid() {
			continue
		}
		if u := f.User(pid); len(u.Uses) > 0 {
			users = append(users, u)
		}
	}
	return users
}

// User returns what process pid uses of the mount: nothing if Uses is empty.
func (f *Finder) User(pid int) User {
	ids := f.idsFor(pid)
	found := make(chan User, 1)
	// Whoever cannot be looked at keeps the goroutine; a fatal signal to this
	// process ends it.
	go func() {
		u := User{PID: pid}
		if u.Uses = f.uses(pid, ids); len(u.Uses) > 0 {
			u.Name, u.UID = Name(pid), owner(pid)
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

// owner returns the user of a process, -1 if it is gone.
func owner(pid int) int {
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

// idsFor returns the ids that the mount has for process pid. They are kept, since
// a mount that was detached is in no table any more.
func (f *Finder) idsFor(pid int) []int {
	space, err := os.Readlink(procPath(pid, "ns", "mnt"))
	if err != nil {
		return nil
	}
	if ids := f.ids[space]; len(ids) > 0 {
		return ids
	}
	infos, err := ours(procPath(pid, "mountinfo"))
	if err != nil {
		return nil
	}
	var ids []int
	for _, info := range infos {
		if info.Major == f.entry.Major && info.Minor == f.entry.Minor {
			ids = append(ids, info.ID)
		}
	}
	f.ids[space] = ids
	return ids
}

func (f *Finder) uses(pid int, ids []int) (uses []string) {
	if len(ids) > 0 {
		uses = append(usedLinks(pid, ids), usedFiles(pid, ids)...)
	}
	uses = append(uses, f.mapped(pid)...)
	return uses[:min(len(uses), maxUses)]
}

// usedLinks returns which directories of the process and whether its program are
// in the mount.
func usedLinks(pid int, ids []int) (uses []string) {
	for _, name := range []string{"cwd", "root", "exe"} {
		// With O_PATH the kernel follows this link without asking a filesystem.
		fd, err := unix.Open(procPath(pid, name), unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		id, ok := FDField(os.Getpid(), fd, "mnt_id")
		unix.Close(fd)
		if ok && slices.Contains(ids, id) {
			uses = append(uses, name)
		}
	}
	return uses
}

func usedFiles(pid int, ids []int) (uses []string) {
	for _, fd := range FDs(pid) {
		if id, ok := FDField(pid, fd, "mnt_id"); ok && slices.Contains(ids, id) {
			uses = append(uses, fmt.Sprintf("fd/%d", fd))
		}
	}
	return uses
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
func FDField(pid, fd int, name string) (value int, ok bool) {
	text, err := os.ReadFile(procPath(pid, "fdinfo", strconv.Itoa(fd)))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if field, rest, _ := strings.Cut(line, ":"); field == name {
			value, err = strconv.Atoi(strings.TrimSpace(rest))
			return value, err == nil
		}
	}
	return 0, false
}

// mapped returns the ranges of memory that are files of the mount.
func (f *Finder) mapped(pid int) (uses []string) {
	if f.entry.Device() == 0 { // that of memory which is no file
		return nil
	}
	maps, err := os.Open(procPath(pid, "maps"))
	if err != nil {
		return nil
	}
	defer maps.Close()
	device := fmt.Sprintf("%02x:%02x", f.entry.Major, f.entry.Minor)
	lines := bufio.NewScanner(maps)
	for lines.Scan() && len(uses) < maxUses {
		// range, permissions, offset, device, inode, path
		if fields := strings.Fields(lines.Text()); len(fields) > 3 && fields[3] == device {
			uses = append(uses, "mmap/"+fields[0])
		}
	}
	return uses
}
