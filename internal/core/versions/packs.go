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

// Packing tells of the packs of a database: see storage.Packed.
type Packing struct {
	Complete zodb.Tid // views from here on show all that they did
	Newest   zodb.Tid // time of the newest pack, at least Complete
}

// Packs returns the state of packs. It only moves up.
func (o *Objects) Packs() Packing { return o.packs.now() }

func newPacks(store storage.Loader) *packs {
	packed, _ := store.(storage.Packed)
	return &packs{store: packed}
}

// now returns the state. It only moves up.
func (p *packs) now() Packing {
	state := Packing{Complete: zodb.Tid(p.met.Load())}
	if p.store != nil {
		complete, newest := p.store.Packs()
		state.Complete, state.Newest = max(state.Complete, complete), newest
	}
	state.Newest = max(state.Newest, state.Complete)
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
	if noData := asNoData(err); xid.At >= state.Complete || noData != nil && noData.DeletedAt != 0 {
		return nil
	}
	return &storage.PackedError{Xid: xid, PackTime: state.Complete}
}

// asPacked returns the storage.PackedError in err, or nil.
func asPacked(err error) *storage.PackedError {
	var packed *storage.PackedError
	if errors.As(err, &packed) {
		return packed
	}
	return nil
}

// Incomplete returns a *storage.PackedError if a pack may have removed what view at
// shows, else nil.
func (r *Revisions) Incomplete(oid zodb.Oid, at zodb.Tid) error {
	if complete := r.objs.Packs().Complete; at < complete {
		return &storage.PackedError{Xid: zodb.Xid{At: at, Oid: oid}, PackTime: complete}
	}
	return nil
}

// revBelow returns the revision of a block as of a view that may be incomplete: the
// view itself, if all is there that is needed to show the block. Records are asked
// for, and not the cache, which may have what a pack has removed. The error is a
// *storage.PackedError if something is gone.
func (r *Revisions) revBelow(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) (Rev, error) {
	w, err := r.Walk(ctx, oid, blk, at)
	if err == nil && w.Obj == nil {
		err = r.Incomplete(oid, at)
	}
	if err != nil {
		return Rev{}, err
	}
	_, path, err := bigfile.Size(ctx, r.objs, w.Obj, at)
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
		_, err := storage.Serial(ctx, r.store, zodb.Xid{At: at, Oid: oid})
		if storage.IsNoData(err) {
			err = r.Incomplete(oid, at)
		}
		if err != nil {
			return Rev{}, fmt.Errorf("revision of block #%d: %w", blk, err)
		}
	}
	return Rev{at, false}, nil
}
