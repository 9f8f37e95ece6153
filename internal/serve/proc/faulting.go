package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Faulting returns the threads of process pid that may be in a page fault and not wait
// there for what they have asked for, by thread id, each with a mark that is another one
// when that fault is over. Such a thread runs, or waits for a page or for a lock of
// the kernel: whoever sleeps otherwise is in no fault, or in one whose READ is not
// answered. Of a process that cannot be looked at it is thread 0.
func Faulting(pid int) map[int]uint64 { return faulting(fmt.Sprintf("/proc/%d/task", pid)) }

// faulting is Faulting of the process with that directory of threads.
func faulting(dir string) map[int]uint64 {
	tasks, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return map[int]uint64{0: 0}
	}
	found := make(map[int]uint64)
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(dir, task.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		if mark, ok := faultMark(string(stat)); ok {
			found[id] = mark
		}
	}
	return found
}

// faultMark reports whether a thread with that stat may be in a page fault. The mark is
// the sum of the faults that it has had and of its time outside of the kernel. Of the
// fields behind the name, which may contain anything, these are the eighth, tenth and
// twelfth (proc_pid_stat(5)). The kernel counts a fault when it is over
// (mm_account_fault in mm/memory.c of Linux).
func faultMark(stat string) (mark uint64, ok bool) {
	_, after, _ := strings.Cut(stat[strings.LastIndexByte(stat, ')')+1:], " ")
	fields := strings.Fields(after)
	if len(fields) < 12 || fields[0] != "R" && fields[0] != "D" {
		return 0, false
	}
	for _, i := range []int{7, 9, 11} {
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return 0, true
		}
		mark += n
	}
	return mark, true
}
