package versions

import (
	"context"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// walkBack is revAt done in the simple way: it compares all versions of all
// nodes on the path, for this block only.
func (h *History) walkBack(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) (Rev, error) {
	w, err := h.Walk(ctx, oid, blk, at)
	if err != nil {
		return Rev{}, err
	}
	var data zodb.Tid // serial of the ZBlk
	if w.OK {
		if data, err = h.serial(ctx, zodb.Xid{At: at, Oid: w.ZBlk}); err != nil {
			return Rev{}, fmt.Errorf("revision of block #%d: %w", blk, err)
		}
	}
	for {
		n := w.Serial()
		if data > n {
			return Rev{data, true}, nil
		}
		if floor := min(h.Floor(), at); n <= floor {
			return Rev{max(n, floor), false}, nil
		}
		before, err := h.Walk(ctx, oid, blk, n-1)
		if err != nil {
			return Rev{}, err
		}
		if !sameBlock(before, w) {
			return Rev{n, true}, nil
		}
		w = before
	}
}

// checkRoutes requires that the revision found with routes is what the simple
// way finds, whether it is exact or not, and that routes keeps its budget.
func (r *run) checkRoutes(f *File, blk int64, at zodb.Tid) error {
	want, err := r.h.walkBack(r.ctx, f.Oid, blk, at)
	if err != nil {
		return err
	}
	got, err := r.h.revAt(r.ctx, f.Oid, blk, at)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("file %d #%d @%d: revision %v with routes, %v without", f.Oid, blk, at, got, want)
	}
	routes, size := r.h.routes, 0
	for _, n := range routes.nodes {
		size += n.size
	}
	if size != routes.size || size > routes.budget {
		return fmt.Errorf("routes keep %d numbers; said %d, budget %d", size, routes.size, routes.budget)
	}
	return nil
}
