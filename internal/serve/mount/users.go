package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/serve/proc"
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
// The kernel may give the number of a mount that is gone to another one
// (get_anon_bdev of Linux). Once nobody uses it and it is not in the table,
// nothing can be said any more.
func (e Entry) Users() []User {
	pids := slices.DeleteFunc(proc.Processes(), func(pid int) bool { return pid == os.Getpid() })
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
	// A process that cannot be looked at keeps the goroutine; a fatal signal
	// to this process ends it.
	go func() {
		u := User{PID: pid}
		if u.Uses = e.uses(pid); len(u.Uses) > 0 {
			u.Name, u.UID = proc.Name(pid), proc.Owner(pid)
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

// isProbe reports whether a process is the child of a Prober.
func isProbe(pid int) bool {
	args := proc.Args(pid)
	return len(args) > 2 && args[1] == ProbeCommand
}

func (e Entry) uses(pid int) (uses []string) {
	if e.Device() == 0 { // that of memory which is no file
		return nil
	}
	for _, name := range []string{"cwd", "root", "exe"} {
		if e.has(proc.Path(pid, name)) {
			uses = append(uses, name)
		}
	}
	for _, fd := range proc.FDs(pid) {
		if e.has(proc.Path(pid, "fd", strconv.Itoa(fd))) {
			uses = append(uses, fmt.Sprintf("fd/%d", fd))
		}
	}
	for _, mapped := range proc.Mapped(pid, e.Major, e.Minor, maxUses) {
		uses = append(uses, "mmap/"+mapped)
	}
	return uses[:min(len(uses), maxUses)]
}

// has reports whether a link of /proc leads into the mount. The call asks
// statx(2) for nothing but what is cached, so it gets the device number without
// asking any filesystem, and also for a mount of another user.
func (e Entry) has(link string) bool {
	if path, err := os.Readlink(link); err != nil || !filepath.IsAbs(path) {
		return false // a socket, for instance
	}
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, 0, &st)
	return err == nil && int(st.Dev_major) == e.Major && int(st.Dev_minor) == e.Minor
}
