package live

import (
	"context"
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

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
