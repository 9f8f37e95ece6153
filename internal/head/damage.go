package head

import (
	"context"
	"errors"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/storage"
)

// spare has the clients of older views pin the blocks of a READ that fails with err
// since what head shows is damaged: they do not have to see it, and would get SIGBUS.
// It returns the error of the READ.
func (a *attempt) spare(ctx context.Context, err error) error {
	var damaged *storage.CorruptError
	if !errors.As(err, &damaged) {
		return err
	}
	var concerns []concern
	for _, c := range a.older() {
		rev, err := a.file.PinRev(ctx, c.blk, c.at)
		if err != nil {
			continue // the client gets an error in any case
		}
		a.file.Lock()
		if !c.watch.removed && c.watch.at == c.at {
			c.watch.need(c.blk, rev)
			a.revs[c.blk] = a.view
			concerns = append(concerns, c)
		}
		a.file.Unlock()
	}
	for {
		a.file.Lock()
		held, wake := a.held(concerns), a.file.wake
		a.file.Unlock()
		switch {
		case !held:
			return err
		case a.read.isReadAhead():
			return errReadAhead
		}
		if err := a.park(ctx, wake); err != nil {
			return err
		}
	}
}

// older lists the watches of older views for all blocks of the READ.
func (a *attempt) older() (all []concern) {
	f := a.file
	f.Lock()
	defer f.Unlock()
	a.view, a.revs = f.View(), make(map[int64]zodb.Tid)
	for _, e := range a.read.extents {
		for w := range f.watches {
			if w.at < a.view {
				all = append(all, concern{w, e.Blk, w.at})
			}
		}
	}
	return all
}
