package live

import (
	"maps"
	"slices"
	"syscall"
)

// Condemned is a process that must not get data any more: it is being killed. A
// READ in a page fault of its own would keep it from dying.
type Condemned struct {
	head      *Head
	hasThread func(thread int) bool
}

// Condemn refuses READs by the threads of a process from now on, also those
// that are under way. hasThread is called without locks.
func (h *Head) Condemn(hasThread func(thread int) bool) *Condemned {
	c := &Condemned{h, hasThread}
	h.setCondemned(func(all []*Condemned) []*Condemned { return append(all, c) })
	for _, f := range h.list() {
		f.refuseParked(c)
	}
	return c
}

// Absolve ends it: the process is dead.
func (c *Condemned) Absolve() {
	c.head.setCondemned(func(all []*Condemned) []*Condemned {
		return slices.DeleteFunc(all, func(o *Condemned) bool { return o == c })
	})
}

func (h *Head) setCondemned(change func([]*Condemned) []*Condemned) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := change(slices.Clone(*h.condemned.Load()))
	h.condemned.Store(&all)
}

// refuseParked refuses READs of f that wait for something.
func (f *File) refuseParked(c *Condemned) {
	parked := make(map[*read]struct{})
	f.mu.Lock()
	for _, reads := range f.reads {
		for _, r := range reads {
			if !r.replying {
				parked[r] = struct{}{}
			}
		}
	}
	f.mu.Unlock()
	maps.DeleteFunc(parked, func(r *read, _ struct{}) bool { return !c.hasThread(r.thread) })
	if len(parked) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range parked {
		r.refused = syscall.EIO
		r.cancel()
	}
	f.broadcast()
}

// refuse returns why a READ by that thread must not get data. It is asked after
// the READ was registered: who is condemned later finds it there.
func (h *Head) refuse(thread int) error {
	for _, c := range *h.condemned.Load() {
		if c.hasThread(thread) {
			return syscall.EIO
		}
	}
	return nil
}
