package versions

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/routes"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// routesBudget is how many numbers of 8 bytes are remembered of how nodes have changed.
const routesBudget = 4 << 20

// Revisions finds out since which transaction a block has shown what it does. See the
// package comment for how.
type Revisions struct {
	objs   *Objects
	floor  atomic.Uint64 // zodb.Tid; revisions are not looked for before it
	store  storage.Loader
	routes *routes.Routes
}

// NewRevisions returns the revisions of blocks whose tables are in objs. Serials of
// objects are asked from store. Revisions are looked for back to floor.
func NewRevisions(objs *Objects, store storage.Loader, floor zodb.Tid) *Revisions {
	r := &Revisions{objs: objs, store: store, routes: routes.New(objs, routesBudget)}
	r.floor.Store(uint64(floor))
	return r
}

// SetRoutesBudget bounds what is remembered of how nodes changed, in numbers of 8 bytes.
// It is called before anything is looked up.
func (r *Revisions) SetRoutesBudget(n int) { r.routes = routes.New(r.objs, n) }

// SetFloor moves the floor up. Equal content gets equal revisions only as long
// as the floor stays, so it should move rarely.
func (r *Revisions) SetFloor(floor zodb.Tid) {
	r.floor.Store(uint64(floor))
	r.routes.Forget() // most of it is about views below
}

// Floor returns how far back revisions are looked for.
func (r *Revisions) Floor() zodb.Tid { return zodb.Tid(r.floor.Load()) }

// Walk is the way from a ZBigFile to one of its blocks at one view.
type Walk struct {
	Obj  *bigfile.File // nil: the file does not exist at that view
	ZBlk zodb.Oid      // if OK
	OK   bool          // false: the block is a hole
	Path []btree.Step  // from the ZBigFile, which is its first step, to the leaf
}

// Serial returns the newest serial on the path.
func (w *Walk) Serial() (serial zodb.Tid) {
	for _, step := range w.Path {
		serial = max(serial, step.Serial)
	}
	return serial
}

// sameBlock reports whether a and b show the same ZBlk in the same table.
func sameBlock(a, b *Walk) bool {
	if (a.Obj == nil) != (b.Obj == nil) || a.Obj != nil && *a.Obj != *b.Obj {
		return false
	}
	return a.OK == b.OK && a.ZBlk == b.ZBlk
}

// Walk walks to block blk of file oid as of view at. Errors are those of
// Objects.Node and Objects.File, except that a file that does not exist is none.
func (r *Revisions) Walk(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) (*Walk, error) {
	obj, serial, err := r.objs.File(ctx, zodb.Xid{At: at, Oid: oid})
	w := &Walk{Obj: obj, Path: FileStep(oid, serial)}
	if storage.IsNoData(err) {
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := btree.Lookup(ctx, r.objs, obj.Table, at, blk)
	if err != nil {
		return nil, err
	}
	w.ZBlk, w.OK = found.Value, found.OK
	w.Path = append(w.Path, found.Path...)
	return w, nil
}

// FileStep is the ZBigFile as the first step of a path.
func FileStep(oid zodb.Oid, serial zodb.Tid) []btree.Step {
	return []btree.Step{{Oid: oid, Serial: serial, Lo: math.MinInt64, Hi: math.MaxInt64}}
}

// Rev is a revision of a block: no change of it is in (Tid, at].
type Rev struct {
	Tid   zodb.Tid
	Exact bool // the block changed at Tid; else Tid is an upper bound that stays what it is
}

// Above is rev, a revision as of view at, moved up to least if the view is not before
// that: a revision of before would lead to a view that is incomplete, though what the
// block shows is still there.
func (rev Rev) Above(least, at zodb.Tid) Rev {
	if rev.Tid < least && least <= at {
		return Rev{least, false}
	}
	return rev
}

// At finds the revision of a block as of view at. It has to be looked for anew when the
// database was packed meanwhile: what was met may be what the pack has left. Of a view
// that a pack has left incomplete it is the view itself, or the error is a
// *storage.PackedError if something of it is gone that the block needs.
func (r *Revisions) At(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) (rev Rev, err error) {
	complete := r.objs.Packs().Complete
	if at < complete {
		rev, err = r.revBelow(ctx, oid, blk, at)
	} else {
		rev, err = r.walkBackTo(ctx, oid, blk, at, min(max(r.Floor(), complete), at))
	}
	return rev.Above(complete, at), err
}

// walkBackTo finds the revision of a block by walking back from view at, to floor at
// most. The block changed when it last showed another ZBlk, or when its ZBlk changed.
func (r *Revisions) walkBackTo(ctx context.Context, oid zodb.Oid, blk int64, at, floor zodb.Tid) (Rev, error) {
	w, err := r.Walk(ctx, oid, blk, at)
	if err != nil {
		return Rev{}, err
	}
	var data zodb.Tid // serial of the ZBlk
	if w.OK {
		data, err = storage.Serial(ctx, r.store, zodb.Xid{At: at, Oid: w.ZBlk})
		if storage.IsNoData(err) {
			err = &storage.CorruptError{Oid: w.ZBlk, Tid: at, Err: fmt.Errorf("it is referred to and does not exist: %s", err)}
		}
		if err != nil {
			return Rev{}, fmt.Errorf("revision of block #%d: %w", blk, err)
		}
	}
	for view := at; ; {
		n, err := r.routes.Newest(ctx, w.Path, blk, view, max(data, floor))
		if err != nil {
			return Rev{}, fmt.Errorf("revision of block #%d: %w", blk, err)
		}
		if n == 0 {
			return r.revData(ctx, oid, blk, data, floor)
		}
		// The path is looked up anew: other nodes may have led to the block.
		view = n - 1
		before, err := r.Walk(ctx, oid, blk, view)
		if bigfile.IsDamage(err) {
			return Rev{n, true}, nil // the block could not be read before
		}
		if err != nil {
			return Rev{}, err
		}
		if !sameBlock(before, w) {
			return Rev{n, true}, nil
		}
		w = before
	}
}

// revData returns the revision of a block whose ZBlk has serial data, and that
// has shown this ZBlk all the time since both data and floor. Below floor,
// where nothing else is looked for, a ZBlk that is newer than all of the table
// still tells the revision.
func (r *Revisions) revData(ctx context.Context, oid zodb.Oid, blk int64, data, floor zodb.Tid) (Rev, error) {
	if data > floor {
		return Rev{data, true}, nil
	}
	w, err := r.Walk(ctx, oid, blk, floor)
	if err != nil {
		return Rev{}, err
	}
	if data > w.Serial() {
		return Rev{data, true}, nil
	}
	return Rev{floor, false}, nil
}
