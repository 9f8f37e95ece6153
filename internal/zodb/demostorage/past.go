package demostorage

import (
	"context"
	"sort"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// past knows which transactions of a delta changed an object. It is filled when it is
// needed, which few deltas do.
type past struct {
	turn chan struct{}           // held by who looks; it may take long
	upTo zodb.Tid                // guarded by turn; what is after it was not looked at
	tids map[zodb.Oid][]zodb.Tid // guarded by turn; ascending
}

func newPast() past {
	return past{turn: make(chan struct{}, 1), tids: make(map[zodb.Oid][]zodb.Tid)}
}

// changed returns the newest transaction up to view xid.At that changed the object, 0 if
// there is none.
func (p *past) changed(ctx context.Context, delta storage.Iterator, xid zodb.Xid) (zodb.Tid, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if p.upTo < xid.At {
		err := delta.Iterate(ctx, p.upTo+1, xid.At, func(txn *storage.Txn) error {
			for _, oid := range txn.Oids {
				p.tids[oid] = append(p.tids[oid], txn.Tid)
			}
			p.upTo = txn.Tid
			return nil
		})
		if err != nil {
			return 0, err
		}
		p.upTo = xid.At
	}
	tids := p.tids[xid.Oid]
	if i := sort.Search(len(tids), func(i int) bool { return tids[i] > xid.At }); i > 0 {
		return tids[i-1], nil
	}
	return 0, nil
}
