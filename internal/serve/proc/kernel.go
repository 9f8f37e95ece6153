package proc

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/prometheus/procfs"
)

// root is a directory with one below it for each process, or for each thread of one.
type root string

// kernel is where the kernel shows processes, and by their ids threads, too.
const kernel = root("/proc")

// path returns where something about a process is.
func (r root) path(id int, elem ...string) string {
	return filepath.Join(append([]string{string(r), strconv.Itoa(id)}, elem...)...)
}

// threads returns the root of the threads of a process.
func (r root) threads(pid int) root { return root(r.path(pid, "task")) }

// process returns what package procfs knows about a process. It fails with os.ErrNotExist
// if there is no such process.
func (r root) process(id int) (procfs.Proc, error) {
	fs, err := procfs.NewFS(string(r))
	if err != nil {
		return procfs.Proc{}, err
	}
	return fs.Proc(id)
}

// stat returns the fields of proc_pid_stat(5).
func (r root) stat(id int) (procfs.ProcStat, error) {
	p, err := r.process(id)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return p.Stat()
}

// numbers returns the names in a directory that are numbers, in ascending order.
func numbers(dir string) ([]int, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	var list []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, err
}
