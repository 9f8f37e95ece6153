package live

import (
	"context"
	"errors"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// isDamaged reports whether err is about something damaged at a view, and not about what
// a pack has removed.
func (f *File) isDamaged(err error, at zodb.Tid) bool {
	var damaged *storage.CorruptError
	return errors.As(err, &damaged) && f.head.revs.Incomplete(f.Oid, at) == nil
}

// spare has the clients of older views pin the blocks of a READ that fails with err
// since what head shows is damaged: they do not have to see it, and would get SIGBUS.
// A client for which it is the same is left alone: a page fault does not believe the
// first error, and reads again with the memory map of its process locked (filemap_fault
// of Linux), so that a pin could not be acknowledged.
// It returns the error of the READ.
func (a *attempt) spare(ctx context.Context, err error) error {
	var damaged *storage.CorruptError
	if !errors.As(err, &damaged) {
		return err
	}
	for moved := true; moved; {
		var failed error
		if moved, failed = a.awaitPinned(ctx, a.pinOlder(ctx)); failed != nil {
			return failed
		}
	}
	if a.isOutdated() {
		return nil // the block changed while clients were waited for: it is loaded again
	}
	return err
}

// pinOlder has the clients of older views pin the blocks of the READ.
func (a *attempt) pinOlder(ctx context.Context) (pinned []concern) {
	older, view := a.older()
	for _, c := range older {
		newest, err := a.file.BlkRevAt(ctx, c.blk, view)
		if err == nil && newest.Tid <= c.at {
			continue // the block is no better at the view of the client
		}
		rev, err := a.file.pinRev(ctx, c.blk, c.at)
		if err != nil {
			continue // the client gets an error in any case
		}
		a.file.mu.Lock()
		if !c.watch.removed && c.watch.at == c.at {
			c.watch.need(c.blk, rev)
		}
		a.file.mu.Unlock()
		pinned = append(pinned, c)
	}
	return pinned
}

// awaitPinned waits until no client maps what was pinned from head. It returns at once
// if one has moved to another view, which may want something else.
func (a *attempt) awaitPinned(ctx context.Context, pinned []concern) (moved bool, err error) {
	for {
		held, moved, wake := a.lookAt(pinned)
		switch {
		case moved || !held:
			return moved, nil
		case a.read.isReadAhead():
			return false, errReadAhead
		}
		if err := a.park(ctx, wake); err != nil {
			return false, err
		}
	}
}

func (a *attempt) lookAt(pinned []concern) (held, moved bool, wake <-chan struct{}) {
	f := a.file
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range pinned {
		switch w := c.watch; {
		case w.removed:
		case w.at != c.at:
			moved = true
		case w.established && w.mayMapHead(c.blk):
			held = true
		}
	}
	return held, moved, f.wake
}

func (a *attempt) isOutdated() bool {
	for i, ld := range a.loads {
		if ld != nil && a.outdated(i) {
			return true
		}
	}
	return a.loads == nil // let go while the READ was parked
}

// older lists the watches of older views than the newest, for all blocks of the READ.
func (a *attempt) older() (all []concern, view zodb.Tid) {
	f := a.file
	f.mu.Lock()
	defer f.mu.Unlock()
	view = f.served().View
	for _, e := range a.read.extents {
		for w := range f.watches {
			if w.at < view {
				all = append(all, concern{w, e.Blk, w.at})
			}
		}
	}
	return all, view
}
