package live

import (
	"context"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// walkBack is revAt done in the simple way: it compares all versions of all
// nodes on the path, for this block only.
func (h *Head) walkBack(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) (versions.Rev, error) {
	w, err := h.revs.Walk(ctx, oid, blk, at)
	if err != nil {
		return versions.Rev{}, err
	}
	var data zodb.Tid // serial of the ZBlk
	if w.OK {
		if data, err = storage.Serial(ctx, h.store, zodb.Xid{At: at, Oid: w.ZBlk}); err != nil {
			return versions.Rev{}, fmt.Errorf("revision of block #%d: %w", blk, err)
		}
	}
	for {
		n := w.Serial()
		if data > n {
			return versions.Rev{Tid: data, Exact: true}, nil
		}
		if floor := min(h.revs.Floor(), at); n <= floor {
			return versions.Rev{Tid: max(n, floor), Exact: false}, nil
		}
		before, err := h.revs.Walk(ctx, oid, blk, n-1)
		if err != nil {
			return versions.Rev{}, err
		}
		if !sameBlock(before, w) {
			return versions.Rev{Tid: n, Exact: true}, nil
		}
		w = before
	}
}

// checkRoutes requires that the revision found with routes is what the simple
// way finds, whether it is exact or not.
func (r *run) checkRoutes(f *File, blk int64, at zodb.Tid) error {
	want, err := r.h.walkBack(r.ctx, f.Oid, blk, at)
	if err != nil {
		return err
	}
	got, err := r.h.revs.At(r.ctx, f.Oid, blk, at)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("file %d #%d @%d: revision %v with routes, %v without", f.Oid, blk, at, got, want)
	}
	return nil
}

// sameBlock reports whether a and b show the same ZBlk in the same table.
func sameBlock(a, b *versions.Walk) bool {
	if (a.Obj == nil) != (b.Obj == nil) || a.Obj != nil && *a.Obj != *b.Obj {
		return false
	}
	return a.OK == b.OK && a.ZBlk == b.ZBlk
}
