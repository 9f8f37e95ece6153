package tail

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/bigfile"
	"github.com/wcfs/wcfs/internal/btree"
	"github.com/wcfs/wcfs/internal/storage"
)

// History knows which blocks of which files changed when. See the package
// comment for how.
type History struct {
	objs   *Objects
	floor  atomic.Uint64 // zodb.Tid; revisions are not looked for before it
	serial func(ctx context.Context, xid zodb.Xid) (zodb.Tid, error)

	mu    sync.Mutex // map operations only; taken after the lock of a File
	nodes map[zodb.Oid][]registration
	zblks map[zodb.Oid]users
}

// registration says that served blocks of a file were reached through a node
// by keys in [lo, hi].
type registration struct {
	file   *File
	lo, hi int64
}

// users is who shows a ZBlk: usually one block of one file.
type users struct {
	first user
	more  map[user]struct{} // nil if there is only the first
}

type user struct {
	file *File
	blk  int64
}

// NewHistory returns the history of no files yet, on top of objs. Serials of
// objects are asked from store. Revisions are looked for back to floor.
func NewHistory(objs *Objects, store storage.Loader, floor zodb.Tid) *History {
	h := &History{
		objs:   objs,
		serial: serialFunc(store),
		nodes:  make(map[zodb.Oid][]registration),
		zblks:  make(map[zodb.Oid]users),
	}
	h.floor.Store(uint64(floor))
	return h
}

// serialFunc returns how to ask store for the serial of an object without
// loading its data, if that is possible.
func serialFunc(store storage.Loader) func(context.Context, zodb.Xid) (zodb.Tid, error) {
	if s, ok := store.(storage.Serialer); ok {
		return s.Serial
	}
	return func(ctx context.Context, xid zodb.Xid) (zodb.Tid, error) {
		buf, serial, err := store.Load(ctx, xid)
		if err == nil {
			buf.Release()
		}
		return serial, err
	}
}

// SetFloor moves the floor up. Equal content gets equal revisions only as long
// as the floor stays, so it should move rarely.
func (h *History) SetFloor(floor zodb.Tid) { h.floor.Store(uint64(floor)) }

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

// register notes that served blocks of f depend on the nodes of path.
func (h *History) register(f *File, path []btree.Step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, step := range path {
		h.registerStep(f, step)
	}
}

// registerStep widens or adds one registration. Requires: h.mu.
func (h *History) registerStep(f *File, step btree.Step) {
	regs := h.nodes[step.Oid]
	for i := range regs {
		if regs[i].file == f {
			regs[i].lo, regs[i].hi = min(regs[i].lo, step.Lo), max(regs[i].hi, step.Hi)
			return
		}
	}
	h.nodes[step.Oid] = append(regs, registration{f, step.Lo, step.Hi})
}

// unregister drops all registrations of f. It looks at all nodes, so it is for
// files that go away.
func (h *History) unregister(f *File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for oid, regs := range h.nodes {
		regs = slices.DeleteFunc(regs, func(r registration) bool { return r.file == f })
		if len(regs) == 0 {
			delete(h.nodes, oid)
		} else {
			h.nodes[oid] = regs
		}
	}
}

// link notes that block blk of f shows zblk.
func (h *History) link(zblk zodb.Oid, f *File, blk int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u, ok := h.zblks[zblk]
	switch who := (user{f, blk}); {
	case !ok:
		u.first = who
	case u.first == who:
		return
	default:
		if u.more == nil {
			u.more = make(map[user]struct{})
		}
		u.more[who] = struct{}{}
	}
	h.zblks[zblk] = u
}

// unlink takes link back.
func (h *History) unlink(zblk zodb.Oid, f *File, blk int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u, ok := h.zblks[zblk]
	if !ok {
		return
	}
	delete(u.more, user{f, blk})
	if u.first == (user{f, blk}) {
		u.first = user{}
		for other := range u.more { // any of them becomes the first
			u.first = other
			delete(u.more, other)
			break
		}
	}
	if u.first.file == nil {
		delete(h.zblks, zblk)
		return
	}
	if len(u.more) == 0 {
		u.more = nil
	}
	h.zblks[zblk] = u
}

// Rev is a revision of a block: no change of it is in (Tid, at].
type Rev struct {
	Tid   zodb.Tid
	Exact bool // the block changed at Tid; else Tid is an upper bound that stays what it is
}

// revAt finds the revision of a block by walking back from view at. The block
// changed when it last showed another ZBlk, or when its ZBlk changed.
func (h *History) revAt(ctx context.Context, oid zodb.Oid, blk int64, at zodb.Tid) (Rev, error) {
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
		// The path is looked up anew: other nodes may have led to the block.
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

// Sizes tells how much a History keeps.
type Sizes struct {
	Nodes int // registered nodes
	ZBlks int // ZBlks that served blocks show
}

// Sizes returns how much h keeps.
func (h *History) Sizes() Sizes {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Sizes{Nodes: len(h.nodes), ZBlks: len(h.zblks)}
}
