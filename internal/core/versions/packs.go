package versions

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// packs knows which views packs of the database have left alone. The database tells,
// or else an error of it.
type packs struct {
	store storage.Packed // nil: it does not tell
	met   atomic.Uint64  // zodb.Tid; views before it were met to be incomplete
}

// packing is the state of packs: see storage.Packed.
type packing struct{ complete, newest zodb.Tid }

func newPacks(store storage.Loader) *packs {
	packed, _ := store.(storage.Packed)
	return &packs{store: packed}
}

// now returns the state. It only moves up.
func (p *packs) now() packing {
	state := packing{complete: zodb.Tid(p.met.Load())}
	if p.store != nil {
		complete, newest := p.store.Packs()
		state.complete, state.newest = max(state.complete, complete), newest
	}
	state.newest = max(state.newest, state.complete)
	return state
}

// note takes in what err, if it is the error of a pack, tells.
func (p *packs) note(err error) {
	packed := asPacked(err)
	if packed == nil {
		return
	}
	for {
		was := p.met.Load()
		if zodb.Tid(was) >= packed.PackTime || p.met.CompareAndSwap(was, uint64(packed.PackTime)) {
			return
		}
	}
}

// hides returns the error of an object that is not found as of a view, nil if it was
// not there. Where records may be gone nobody knows.
func (p *packs) hides(xid zodb.Xid, err error) error {
	state := p.now()
	if noData := asNoData(err); xid.At >= state.complete || noData != nil && noData.DeletedAt != 0 {
		return nil
	}
	return &storage.PackedError{Xid: xid, PackTime: state.complete}
}

// asPacked returns the storage.PackedError in err, or nil.
func asPacked(err error) *storage.PackedError {
	var packed *storage.PackedError
	if errors.As(err, &packed) {
		return packed
	}
	return nil
}

// above moves a revision as of view at up to least, if the view is not before that: a
// revision of before would lead to a view that is incomplete, though what the block
// shows is still there.
func above(least zodb.Tid, rev Rev, at zodb.Tid) Rev {
	if rev.Tid < least && least <= at {
		return Rev{least, false}
	}
	return rev
}

// PinRev returns from which view block blk has to be mapped to be seen as of view at.
// It is the revision of the block, or after a pack that pack: it is this view that the
// next pack leaves alone for a while.
func (f *File) PinRev(ctx context.Context, blk int64, at zodb.Tid) (zodb.Tid, error) {
	rev, err := f.BlkRevAt(ctx, blk, at)
	return above(f.history.objs.packs.now().newest, rev, at).Tid, err
}

// Incomplete returns a *storage.PackedError if a pack may have removed what view at
// shows, else nil.
func (h *History) Incomplete(oid zodb.Oid, at zodb.Tid) error {
	if complete := h.objs.packs.now().complete; at < complete {
		return &storage.PackedError{Xid: zodb.Xid{At: at, Oid: oid}, PackTime: complete}
	}
	return nil
}

// revBelow returns the revision of a block as of a view that may be incomplete: the
// view itself, if all is there that is needed to show the block. Records are asked
// for, and not the cache, which may have what a pack has removed. The error is a
// *storage.PackedError if something is gone.
func (h *History) revBelow(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) (Rev, error) {
	w, err := h.Walk(ctx, oid, blk, at)
	if err == nil && w.Obj == nil {
		err = h.Incomplete(oid, at)
	}
	if err != nil {
		return Rev{}, err
	}
	_, path, err := bigfile.Size(ctx, h.objs, w.Obj, at)
	if err != nil {
		return Rev{}, err
	}
	needed := make(map[zodb.Oid]struct{})
	for _, step := range append(append([]btree.Step(nil), w.Path...), path...) {
		needed[step.Oid] = struct{}{}
	}
	if w.OK {
		needed[w.ZBlk] = struct{}{}
	}
	for oid := range needed {
		_, err := h.serial(ctx, zodb.Xid{At: at, Oid: oid})
		if storage.IsNoData(err) {
			err = h.Incomplete(oid, at)
		}
		if err != nil {
			return Rev{}, fmt.Errorf("revision of block #%d: %w", blk, err)
		}
	}
	return Rev{at, false}, nil
}
