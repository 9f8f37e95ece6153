package control

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/proc"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// fuseProcess is a process that has a FUSE device open.
type fuseProcess struct {
	pid    int
	start  string // when it was started, in ticks: with pid it tells processes apart
	parent int
	name   string
	conns  []int    // numbers of the connections; none before Linux 6.15
	dirs   []string // directories that it has open: our servers keep theirs
	args   []string
}

type fuseProcessList []fuseProcess

// fuseProcesses returns the processes that have a FUSE device open.
func fuseProcesses() fuseProcessList {
	var list fuseProcessList
	for _, pid := range proc.Processes() {
		if p := lookAtFiles(pid); p != nil {
			list = append(list, *p)
		}
	}
	return list
}

func lookAtFiles(pid int) *fuseProcess {
	p := &fuseProcess{pid: pid, start: proc.Start(pid)}
	found := p.look(pid)
	if !found && proc.State(pid) == "Z" {
		// The first thread has ended. Others may wait for the server that they are.
		for _, tid := range proc.Threads(pid) {
			found = found || p.look(tid)
		}
	}
	if !found {
		return nil
	}
	p.parent = proc.Parent(pid)
	p.name = proc.Name(pid)
	p.args = within(func() []string { return proc.Args(pid) })
	return p
}

// look reports whether a thread has a FUSE device open, and notes what it has.
func (p *fuseProcess) look(tid int) (found bool) {
	for _, fd := range proc.FDs(tid) {
		path, err := proc.FDTarget(tid, fd)
		switch {
		case err != nil:
		case path == "/dev/fuse":
			found = true
			if conn, ok := proc.FDField(tid, fd, "fuse_connection"); ok {
				p.conns = append(p.conns, conn)
			}
		case filepath.IsAbs(path) && !proc.FDIsPath(tid, fd): // it has the one above, too
			p.dirs = append(p.dirs, path)
		}
	}
	return found
}

// serving returns the process that serves the mount e, one with pid 0 if there is
// none. A child that such a process is about to execute something in does not count.
func (list fuseProcessList) serving(e mount.Entry) fuseProcess {
	var matches []fuseProcess
	for _, p := range list {
		if p.serves(e) {
			matches = append(matches, p)
		}
	}
	for _, p := range matches {
		child := slices.ContainsFunc(matches, func(q fuseProcess) bool { return q.pid == p.parent })
		if !child {
			return p
		}
	}
	return fuseProcess{}
}

// serves reports whether the process serves the mount e. Where the kernel does
// not tell, the server is known by the directory below its mount, which it has
// locked, or by its last two arguments. The directory alone would do for a server
// of another filesystem that shows the files of e elsewhere, as bindfs does.
func (p fuseProcess) serves(e mount.Entry) bool {
	if len(p.conns) > 0 {
		return slices.Contains(p.conns, e.Minor)
	}
	n := len(p.args)
	return p.name == serverName && slices.Contains(p.dirs, e.Dir) ||
		n >= 2 && storage.Redact(p.args[n-2]) == e.Source && p.args[n-1] == e.Dir
}

// starting returns the wcfs that has the directory of a mount point open but
// nothing mounted there: it starts or ends. pid is 0 if there is none.
func starting(dir string) (pid int, start string) {
	for _, pid := range proc.Processes() {
		start := proc.Start(pid)
		if proc.Name(pid) != serverName || !mayEnd(pid) || isOperator(within(func() []string { return proc.Args(pid) })) {
			continue
		}
		for _, fd := range proc.FDs(pid) {
			if path, err := proc.FDTarget(pid, fd); err == nil && path == dir && !proc.FDIsPath(pid, fd) {
				return pid, start
			}
		}
	}
	return 0, ""
}

// mayEnd reports whether a process is of this user, or this user is root.
func mayEnd(pid int) bool {
	return os.Geteuid() == 0 || proc.Owner(pid) == os.Geteuid()
}

// isOperator reports whether the arguments of a wcfs say that it is no server, but
// looks after one, as we do. Such a process has the directory open for a moment.
func isOperator(args []string) bool {
	return len(args) > 1 && slices.Contains([]string{"mount", "stop", "status", "list", "top", mount.ProbeCommand}, args[1])
}

// serverName is how ps(1) shows servers.
const serverName = "wcfs"

// lookLimit bounds reading what the kernel tells about a process.
const lookLimit = time.Second

// within returns what look returns, or nothing if that takes too long. Reading
// about the memory of a process waits for its page faults. The goroutine stays
// behind then, until the process ends.
func within[T any](look func() T) (result T) {
	seen := make(chan T, 1)
	go func() { seen <- look() }()
	select {
	case result = <-seen:
	case <-time.After(lookLimit):
	}
	return result
}
