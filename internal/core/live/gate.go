package live

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// concern is a watch that a READ of a block may have to pin.
type concern struct {
	watch *Watch
	blk   int64
	at    zodb.Tid // of the watch when it was listed
}

// concerns lists, for r3, the watches whose view may be before the last change of a block
// of the READ.
func (a *attempt) concerns() (all []concern) {
	a.file.mu.MustHold()
	f := a.file
	if len(f.watches) == 0 {
		return nil
	}
	for _, e := range a.read.extents {
		ub := f.served().UpperBound(e.Blk)
		for w := range f.watches {
			if w.at < ub {
				all = append(all, concern{w, e.Blk, w.at})
			}
		}
	}
	return all
}

// resized reports whether the READ has to begin anew, with another end.
func (a *attempt) resized() bool {
	a.file.mu.MustHold()
	size := a.file.served().Size
	return a.read.resized || a.read.end > size || a.read.cutAt >= 0 && a.read.cutAt != size
}

// gate is r5 and r6: it waits until no client may see the data that must not, and
// in the section that finds this true it checks once more that nothing has
// changed, and lets the reply go. It returns false if something has to be loaded
// again.
func (a *attempt) gate(ctx context.Context, concerns []concern) (done bool, err error) {
	for {
		wake, err := a.pass(concerns)
		switch {
		case err != nil:
			return false, err
		case a.read.replying:
			return true, nil
		case wake == nil:
			return false, nil
		case a.read.isReadAhead():
			return false, errReadAhead
		}
		if err := a.park(ctx, wake); err != nil {
			return false, err
		}
	}
}

// pass lets the reply go if it may. Else it returns what to wait for; nil: nothing,
// but something has to be loaded again.
func (a *attempt) pass(concerns []concern) (wake <-chan struct{}, err error) {
	f := a.file
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case a.refused() != nil:
		return nil, a.refused()
	case a.resized():
		return nil, errResized
	case a.loads != nil && a.dropChanged():
		return nil, nil
	case a.held(concerns) || a.closed():
		return f.wake, nil
	case a.loads == nil:
		return nil, nil
	}
	a.letGo()
	return nil, nil
}

// held is the question of r5: it reports whether a watch may still show the pages of the
// READ to a client that must not see them. A client on any pin of the block does not see
// the page, so that a move from pin to pin is not waited for, nor an un-pin that its view
// allows.
func (a *attempt) held(all []concern) bool {
	a.file.mu.MustHold()
	for _, c := range all {
		w := c.watch
		if w.removed || !w.established || w.at >= a.revs[c.blk] {
			continue
		}
		if w.mayMapHead(c.blk) {
			return true
		}
	}
	return false
}

// letGo lets the reply go.
func (a *attempt) letGo() {
	a.file.mu.MustHold()
	a.read.replying = true
	if a.file.form != nil {
		a.header = a.file.form.Header
	}
	a.noteAnswered()
	a.planFills()
}

// park waits for a change of the state of a watch. The blocks of the READ stay in
// memory only as far as there is room: a client can be slow with any number of
// blocks.
func (a *attempt) park(ctx context.Context, wake <-chan struct{}) error {
	h := a.file.head
	h.counts.waiting.Add(1)
	defer h.counts.waiting.Add(-1)
	if !a.keep() {
		a.release()
		a.loads = nil // they are loaded again when it goes on
	}
	return a.await(ctx, wake)
}

// keep reports whether the loaded blocks may stay in memory while the READ waits
// for a client.
func (a *attempt) keep() bool {
	h, size := a.file.head, a.blksize*int64(len(a.loads))
	if a.kept > 0 {
		return true
	}
	if h.counts.parked.Add(size) > h.cfg.ParkedBytes {
		h.counts.parked.Add(-size)
		return false
	}
	a.kept = size
	return true
}

// unkeep takes keep back.
func (a *attempt) unkeep() {
	a.file.head.counts.parked.Add(-a.kept)
	a.kept = 0
}

// dyingCheck is how often a READ looks whether its thread is to die, once that has
// got a signal. The kernel tells of the first signal only (request_wait_answer in
// fs/fuse/dev.c of Linux), and it may be one that is handled.
const dyingCheck = 50 * time.Millisecond

// errDying ends a READ whose thread will not return to its program. Until the READ
// is answered the process of the thread cannot end, and who waits for that process
// to acknowledge a pin waits in vain.
var errDying = fmt.Errorf("the reader is being killed: %w", syscall.EINTR)

// await waits for event.
func (a *attempt) await(ctx context.Context, event <-chan struct{}) error {
	var check <-chan time.Time
	for {
		if a.signalled {
			if a.file.head.isDying(a.read.thread) {
				return errDying
			}
			check = time.After(dyingCheck)
		}
		select {
		case <-event:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-a.interrupted:
			a.interrupted, a.signalled = nil, true
		case <-check:
		}
	}
}

// isDying reports whether a thread that has got a signal is to die of it.
func (h *Head) isDying(thread int) bool {
	return thread != 0 && h.cfg.Processes.IsDying(thread)
}
