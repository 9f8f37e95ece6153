package live

import (
	"context"
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// concern is a watch that a READ of a block may have to pin.
type concern struct {
	watch *Watch
	blk   int64
	at    zodb.Tid // of the watch when it was listed
}

// concerns lists the watches whose view may be before the last change of a block of the
// READ.
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

// pin is r4: it finds out which watches have to pin which revision, holding
// nothing, and makes that the wanted state. A watch that moved or went meanwhile
// has taken care of itself: the block was served already. A watch whose view was
// packed away is lost; the READ goes on once it is gone, and does not fail.
func (a *attempt) pin(ctx context.Context, all []concern) error {
	a.revs = make(map[int64]zodb.Tid)
	f := a.file
	for _, c := range all {
		rev, ok := a.revs[c.blk]
		if !ok {
			var err error
			if rev, err = f.changedAt(ctx, c.blk, a.view); err != nil {
				return fmt.Errorf("readblk #%d: %w", c.blk, err)
			}
			a.revs[c.blk] = rev
		}
		if rev <= c.at {
			continue
		}
		pin, err := f.pinAt(ctx, c.blk, c.at)
		if packed := (*storage.PackedError)(nil); errors.As(err, &packed) {
			c.watch.lose(c.blk, c.at, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("readblk #%d: %w", c.blk, err)
		}
		f.mu.Lock()
		if !c.watch.removed && c.watch.at == c.at {
			c.watch.need(c.blk, pin)
		}
		f.mu.Unlock()
	}
	return nil
}

// held reports whether a watch may still show the pages of the READ to a client that must
// not see them. It is r5: a client on any pin of the block does not see the page, so that
// a move from pin to pin is not waited for, nor an un-pin that its view allows.
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
