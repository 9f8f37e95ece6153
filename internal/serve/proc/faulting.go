package proc

import "os"

// Faulting returns the threads of process pid that may be in a page fault and not wait
// there for what they have asked for, by thread id, each with a mark that is another one
// when that fault is over. Such a thread runs, or waits for a page or for a lock of
// the kernel: whoever sleeps otherwise is in no fault, or in one whose READ is not
// answered. Of a process that cannot be looked at it is thread 0.
func Faulting(pid int) map[int]uint64 { return kernel.faulting(pid) }

func (r root) faulting(pid int) map[int]uint64 {
	threads := r.threads(pid)
	tids, err := numbers(string(threads))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return map[int]uint64{0: 0}
	}
	found := make(map[int]uint64)
	for _, tid := range tids {
		stat, err := threads.stat(tid)
		if err != nil || stat.State != "R" && stat.State != "D" {
			continue // an error says that it has ended
		}
		// The kernel counts a fault when it is over (mm_account_fault in mm/memory.c of
		// Linux). Time outside of the kernel is no part of a fault either.
		found[tid] = uint64(stat.MinFlt) + uint64(stat.MajFlt) + uint64(stat.UTime)
	}
	return found
}
