package versions

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// History knows which blocks of which files changed when. See the package
// comment for how.
type History struct {
	objs   *Objects
	floor  atomic.Uint64 // zodb.Tid; revisions are not looked for before it
	serial func(ctx context.Context, xid zodb.Xid) (zodb.Tid, error)
	routes *routes

	mu     sync.Mutex // map operations only; taken after the lock of a File
	nodes  map[zodb.Oid]dependents
	zblks  map[zodb.Oid]user              // ZBlk -> a block that shows it
	shared map[zodb.Oid]map[user]struct{} // ZBlk -> all others that show it, if there are
	broken map[*File]struct{}             // their block table could not be read
}

// NewHistory returns the history of no files yet, on top of objs. Serials of
// objects are asked from store. Revisions are looked for back to floor.
func NewHistory(objs *Objects, store storage.Loader, floor zodb.Tid) *History {
	h := &History{
		objs:   objs,
		serial: func(ctx context.Context, xid zodb.Xid) (zodb.Tid, error) { return storage.Serial(ctx, store, xid) },
		routes: newRoutes(objs),
		nodes:  make(map[zodb.Oid]dependents),
		zblks:  make(map[zodb.Oid]user),
		shared: make(map[zodb.Oid]map[user]struct{}),
		broken: make(map[*File]struct{}),
	}
	h.floor.Store(uint64(floor))
	return h
}

// SetFloor moves the floor up. Equal content gets equal revisions only as long
// as the floor stays, so it should move rarely.
func (h *History) SetFloor(floor zodb.Tid) {
	h.floor.Store(uint64(floor))
	h.routes.forget() // most of it is about views below
}

// Floor returns how far back revisions are looked for.
func (h *History) Floor() zodb.Tid { return zodb.Tid(h.floor.Load()) }

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
func (h *History) Walk(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) (*Walk, error) {
	obj, serial, err := h.objs.File(ctx, zodb.Xid{At: at, Oid: oid})
	w := &Walk{Obj: obj, Path: []btree.Step{{Oid: oid, Serial: serial, Lo: math.MinInt64, Hi: math.MaxInt64}}}
	if storage.IsNoData(err) {
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := btree.Lookup(ctx, h.objs, obj.Table, at, blk)
	if err != nil {
		return nil, err
	}
	w.ZBlk, w.OK = found.Value, found.OK
	w.Path = append(w.Path, found.Path...)
	return w, nil
}

// Rev is a revision of a block: no change of it is in (Tid, at].
type Rev struct {
	Tid   zodb.Tid
	Exact bool // the block changed at Tid; else Tid is an upper bound that stays what it is
}

// revAt finds the revision of a block as of view at. It has to be looked for anew when
// the database was packed meanwhile: what was met may be what the pack has left.
func (h *History) revAt(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) (rev Rev, err error) {
	complete := h.objs.packs.now().complete
	if at < complete {
		rev, err = h.revBelow(ctx, oid, blk, at)
	} else {
		rev, err = h.walkBackTo(ctx, oid, blk, at, min(max(h.Floor(), complete), at))
	}
	return above(complete, rev, at), err
}

// walkBackTo finds the revision of a block by walking back from view at, to floor at
// most. The block changed when it last showed another ZBlk, or when its ZBlk changed.
func (h *History) walkBackTo(ctx context.Context, oid zodb.Oid, blk int64, at, floor zodb.Tid) (Rev, error) {
	w, err := h.Walk(ctx, oid, blk, at)
	if err != nil {
		return Rev{}, err
	}
	var data zodb.Tid // serial of the ZBlk
	if w.OK {
		data, err = h.serial(ctx, zodb.Xid{At: at, Oid: w.ZBlk})
		if storage.IsNoData(err) {
			err = &storage.CorruptError{Oid: w.ZBlk, Tid: at, Err: fmt.Errorf("it is referred to and does not exist: %s", err)}
		}
		if err != nil {
			return Rev{}, fmt.Errorf("revision of block #%d: %w", blk, err)
		}
	}
	for view := at; ; {
		n, err := h.routes.newest(ctx, w.Path, blk, view, max(data, floor))
		if err != nil {
			return Rev{}, fmt.Errorf("revision of block #%d: %w", blk, err)
		}
		if n == 0 {
			return h.revData(ctx, oid, blk, data, floor)
		}
		// The path is looked up anew: other nodes may have led to the block.
		view = n - 1
		before, err := h.Walk(ctx, oid, blk, view)
		if damage(err) {
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
func (h *History) revData(ctx context.Context, oid zodb.Oid, blk int64, data, floor zodb.Tid) (Rev, error) {
	if data > floor {
		return Rev{data, true}, nil
	}
	w, err := h.Walk(ctx, oid, blk, floor)
	if err != nil {
		return Rev{}, err
	}
	if data > w.Serial() {
		return Rev{data, true}, nil
	}
	return Rev{floor, false}, nil
}
