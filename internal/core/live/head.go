package live

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/lock"
	"github.com/wcfs/wcfs/internal/core/served"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Config bounds what a Head keeps and how long it waits.
type Config struct {
	MaxServed     int           // blocks that the page cache may have; beyond, the coldest are dropped from it
	PreserveBytes int64         // old content kept for @rev files
	PreserveTime  time.Duration // how long it is kept at most; 0: as long as the history of its views
	ParkedBytes   int64         // of blocks that READs keep in memory while they wait for clients
	Retry         time.Duration // how long a commit that cannot be understood is tried again
	StuckAfter    time.Duration // an invalidation that takes longer means that the mount hangs
	KeepHistory   time.Duration // history is kept at least this long
	MaxHistory    int           // and not longer for watches when it has so many changes of objects; 0: no bound
	KeepFloor     time.Duration // revisions are told exactly at least this far back; moves in steps of it

	// Forms tells of arrays. It may be nil: then there are none.
	Forms Forms

	Observer  core.Observer
	Processes core.Processes
}

// Ranks of the locks, in the order in which they are taken.
const (
	rankHead lock.Rank = iota
	rankFile
	rankIndex
)

// Head is the newest view.
type Head struct {
	ctx       context.Context
	cfg       Config
	objs      *versions.Objects
	revs      *versions.Revisions
	store     storage.Loader
	loader    *bigfile.Loader
	preserved *Preserved
	keeper    *keeper
	evictor   *evictor
	condemned atomic.Pointer[[]*Condemned] // changed under mu
	counts    counts

	// The fields below belong to Commit.
	passed []zodb.Tid         // taken in, to be published together
	broken map[*File]struct{} // their block table cannot be read

	order   lock.Order
	indexMu lock.Mutex // taken while that of a File is held
	index   *served.Index

	mu         lock.Mutex
	at         zodb.Tid           // published
	view       zodb.Tid           // of files that are opened now; at, or the tid of the commit under way
	pending    zodb.Tid           // tid of the commit under way, until it is published; or 0
	committing bool               // a commit is under way, and its files are not switched
	fresh      []*File            // opened during commit
	files      map[zodb.Oid]*File // those that are not fenced
	waiters    []waiter           // for At
	kept       zodb.Tid           // history is there from here on
	reserved   map[zodb.Tid]int   // views whose history somebody needs, with how many
	zhead      map[*Subscription]struct{}
}

// waiter waits until At is at least at.
type waiter struct {
	at   zodb.Tid
	done chan struct{}
}

// New returns the view at, which must be the head of objs. It serves until ctx
// ends. Loads run in loader.
func New(ctx context.Context, at zodb.Tid, objs *versions.Objects, store storage.Loader, loader *bigfile.Loader, cfg Config) *Head {
	h := &Head{
		ctx:       ctx,
		cfg:       cfg,
		objs:      objs,
		revs:      versions.NewRevisions(objs, store, at),
		index:     served.NewIndex(),
		broken:    make(map[*File]struct{}),
		store:     store,
		loader:    loader,
		preserved: newPreserved(cfg.PreserveBytes),
		at:        at,
		view:      at,
		kept:      at,
		reserved:  make(map[zodb.Tid]int),
		files:     make(map[zodb.Oid]*File),
		zhead:     make(map[*Subscription]struct{}),
	}
	h.mu.Init(&h.order, rankHead, nil)
	h.indexMu.Init(&h.order, rankIndex, nil)
	h.condemned.Store(&[]*Condemned{})
	h.keepViews(at)
	h.evictor = newEvictor(h)
	h.keeper = newKeeper(h)
	return h
}

// At returns the tid of the newest view that is published.
func (h *Head) At() zodb.Tid {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

// WaitAt waits until At is at least at.
func (h *Head) WaitAt(ctx context.Context, at zodb.Tid) error {
	h.mu.Lock()
	if h.at >= at {
		h.mu.Unlock()
		return nil
	}
	w := waiter{at, make(chan struct{})}
	h.waiters = append(h.waiters, w)
	h.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	case <-h.ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiters = slices.DeleteFunc(h.waiters, func(o waiter) bool { return o.done == w.done })
	return fmt.Errorf("wait zhead >= %s: %w", at, cmp.Or(ctx.Err(), h.ctx.Err()))
}

// publish makes the last of tids the newest view for everybody.
func (h *Head) publish(tids []zodb.Tid) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tid := tids[len(tids)-1]
	h.at, h.pending = tid, 0
	h.waiters = slices.DeleteFunc(h.waiters, func(w waiter) bool {
		if w.at <= tid {
			close(w.done)
			return true
		}
		return false
	})
	for s := range h.zhead {
		h.tell(s, tids)
	}
}

// Open returns file oid. Errors are those of storage.Loader, and
// *bigfile.NotBigFileError when the object is something else.
func (h *Head) Open(ctx context.Context, oid zodb.Oid) (*File, error) {
	return h.open(ctx, oid, false, h.loadFile)
}

// loading returns a file as of a view, and what it depends on.
type loading func(ctx context.Context, oid zodb.Oid, view zodb.Tid) (*File, []btree.Step, error)

// open returns the file or array oid that is known, or loads it.
func (h *Head) open(ctx context.Context, oid zodb.Oid, array bool, load loading) (*File, error) {
	for {
		h.mu.Lock()
		f, view := h.files[oid], h.view
		h.mu.Unlock()
		if f != nil && f.is(array) == nil {
			return f, nil
		}
		f, path, err := load(ctx, oid, view)
		if err != nil {
			return nil, fmt.Errorf("bigfopen %s @%s: %w", oid, view, err)
		}
		if f := h.enter(f, path, view); f != nil {
			if err := f.is(array); err != nil {
				return nil, err
			}
			return f, nil
		}
	}
}

// loadFile returns a file as of view, not entered yet, and what its size depends on.
func (h *Head) loadFile(ctx context.Context, oid zodb.Oid, view zodb.Tid) (*File, []btree.Step, error) {
	obj, rev, err := h.objs.File(ctx, zodb.Xid{At: view, Oid: oid})
	if err != nil {
		return nil, nil, err
	}
	size, path, err := bigfile.Size(ctx, h.objs, obj, view)
	if err != nil {
		return nil, nil, fmt.Errorf("size: %w", err)
	}
	return newFile(h, served.New(oid, view, obj, size), oid, rev), append(versions.FileStep(oid, rev), path...), nil
}

// enter makes a file that was opened at view known, and returns it or the one
// that somebody else opened meanwhile. It returns nil if the view has moved on.
func (h *Head) enter(f *File, path []btree.Step, view zodb.Tid) *File {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.files[f.Oid]; known != nil {
		return known
	}
	if h.view != view {
		return nil
	}
	h.indexed(func(x *served.Index) {
		x.Enter(f.Oid)
		x.Register(f.Oid, path)
	})
	h.files[f.Oid] = f
	if h.committing {
		f.mu.Lock()
		f.prepare()
		f.mu.Unlock()
		h.fresh = append(h.fresh, f)
	}
	return f
}

// indexed gives do the Index, which it must not keep.
func (h *Head) indexed(do func(x *served.Index)) {
	h.indexMu.Lock()
	defer h.indexMu.Unlock()
	do(h.index)
}

// Files returns how many files are known.
func (h *Head) Files() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.files)
}

// Preserved returns the old content that is kept for past views.
func (h *Head) Preserved() *Preserved { return h.preserved }

// Close waits until everything that Head runs has ended. The context of New
// must have ended.
func (h *Head) Close() {
	h.evictor.wait()
	h.keeper.wait()
}
