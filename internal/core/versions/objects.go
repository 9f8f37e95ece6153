package versions

import (
	"container/list"
	"context"
	"fmt"
	"math"
	"sort"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/flight"
	"github.com/wcfs/wcfs/internal/core/lock"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// forever is the until of a revision that is still current.
const forever zodb.Tid = math.MaxUint64

// object is what the node cache keeps: decoded and immutable.
type object interface {
	MemSize() int // bytes it occupies
}

// revision is one cached revision of one object, or the fact that the object
// does not exist. It answers every view in [from, until].
type revision struct {
	oid         zodb.Oid
	from, until zodb.Tid
	serial      zodb.Tid // of the revision; tid of the deletion, or 0, if obj is nil
	obj         object   // nil: the object does not exist
	use         *list.Element
}

// revisionOverhead is what a cached revision costs besides its object: the
// revision itself, its list element, and its share of map and slice.
const revisionOverhead = 192

func (r *revision) memSize() int64 {
	if r.obj == nil {
		return revisionOverhead
	}
	return revisionOverhead + int64(r.obj.MemSize())
}

// Objects is history together with the node cache.
type Objects struct {
	loader storage.Loader
	loads  *flight.Group[loadKey, *revision]
	packs  *packs
	budget int64 // bytes

	mu      lock.Mutex // map operations only
	tail    zodb.Tid
	head    zodb.Tid
	log     []change                 // ascending; covers (tail, head]
	size    int                      // sum of len(oids) over log
	changes map[zodb.Oid][]zodb.Tid  // oid -> ascending tids in (tail, head] that changed it
	cached  map[zodb.Oid][]*revision // disjoint, ascending
	used    list.List                // of *revision, most recently used first
	bytes   int64                    // sum of memSize over used; <= budget
	hits    uint64
	misses  uint64
}

// NewObjects returns Objects whose history begins and ends at head and loads
// through loader. The node cache never holds more than budget bytes.
func NewObjects(ctx context.Context, loader storage.Loader, head zodb.Tid, budget int64) *Objects {
	return &Objects{
		loader:  loader,
		loads:   flight.NewGroup[loadKey, *revision](ctx),
		packs:   newPacks(loader),
		budget:  budget,
		tail:    head,
		head:    head,
		changes: make(map[zodb.Oid][]zodb.Tid),
		cached:  make(map[zodb.Oid][]*revision),
	}
}

// Close ends the loads under way and waits for them.
func (o *Objects) Close() { o.loads.Close() }

// Node returns the BTree node xid.Oid as of view xid.At with its serial. An
// object that does not exist at that view is an empty leaf.
func (o *Objects) Node(ctx context.Context, xid zodb.Xid) (*btree.Node, zodb.Tid, error) {
	rev, err := o.get(ctx, loadKey{xid, false}, decodeNode)
	if err != nil {
		return nil, 0, err
	}
	switch obj := rev.obj.(type) {
	case nil:
		return btree.Empty, rev.serial, nil
	case *btree.Node:
		return obj, rev.serial, nil
	}
	return nil, 0, &storage.CorruptError{Oid: xid.Oid, Tid: rev.serial, Err: fmt.Errorf("expect a BTree node; got %T", rev.obj)}
}

// File returns the ZBigFile xid.Oid as of view xid.At with its serial. Its
// errors are those of storage.Loader and bigfile.DecodeFile.
func (o *Objects) File(ctx context.Context, xid zodb.Xid) (*bigfile.File, zodb.Tid, error) {
	rev, err := o.get(ctx, loadKey{xid, true}, decodeFile)
	if err != nil {
		return nil, 0, err
	}
	switch obj := rev.obj.(type) {
	case nil:
		return nil, rev.serial, &zodb.NoDataError{Oid: xid.Oid, DeletedAt: rev.serial}
	case *bigfile.File:
		return obj, rev.serial, nil
	}
	return nil, 0, &bigfile.NotBigFileError{Class: "BTree node"}
}

func decodeNode(data []byte) (object, error) { return btree.Decode(data) }
func decodeFile(data []byte) (object, error) { return bigfile.DecodeFile(data) }

// loadKey tells loads apart. An object that is not a file may be a node.
type loadKey struct {
	xid  zodb.Xid
	file bool
}

// get returns the revision that view xid.At sees, from the cache or loaded.
func (o *Objects) get(ctx context.Context, key loadKey, decode func([]byte) (object, error)) (*revision, error) {
	xid := key.xid
	if rev := o.lookup(xid); rev != nil {
		return rev, nil
	}
	return o.loads.Do(ctx, key, func(ctx context.Context) (*revision, error) {
		rev, err := o.load(ctx, key, decode)
		if err != nil {
			return nil, err
		}
		return o.insert(rev, xid.At), nil
	})
}

// lookup returns the cached revision that answers xid, or nil.
func (o *Objects) lookup(xid zodb.Xid) *revision {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, rev := range o.cached[xid.Oid] {
		if rev.from <= xid.At && xid.At <= rev.until {
			o.used.MoveToFront(rev.use)
			o.hits++
			return rev
		}
	}
	o.misses++
	return nil
}

// load reads and decodes one revision. Its until is not set yet.
func (o *Objects) load(ctx context.Context, key loadKey, decode func([]byte) (object, error)) (*revision, error) {
	xid := key.xid
	buf, serial, err := o.loader.Load(ctx, xid)
	if storage.IsNoData(err) {
		// A node is asked for because another one refers to it. To take it for
		// an empty one when it was packed away would make changes of that.
		var hidden error
		if !key.file {
			hidden = o.packs.hides(xid, err)
		}
		if hidden == nil {
			return absent(xid, err), nil
		}
		err = hidden
	}
	if err != nil {
		o.packs.note(err)
		return nil, fmt.Errorf("load %s: %w", xid, err)
	}
	defer buf.Release()
	obj, err := decode(buf.Data)
	if err != nil {
		return nil, damaged(xid.Oid, serial, err)
	}
	return &revision{oid: xid.Oid, from: serial, serial: serial, obj: obj}, nil
}

// absent tells that an object does not exist. When the database does not say
// since when, only the view that was asked is answered.
func absent(xid zodb.Xid, err error) *revision {
	if noData := asNoData(err); noData != nil {
		return &revision{oid: xid.Oid, from: noData.DeletedAt, serial: noData.DeletedAt}
	}
	return &revision{oid: xid.Oid, from: xid.At}
}

// insert puts rev, loaded at view at, into the cache and returns the revision
// to use. Both the end of its validity and the insertion are decided under the
// lock that Append takes, so that a commit during the load is not missed.
func (o *Objects) insert(rev *revision, at zodb.Tid) *revision {
	o.mu.Lock()
	defer o.mu.Unlock()
	rev.until = o.validUntil(rev.oid, at)
	revs := o.cached[rev.oid]
	i := sort.Search(len(revs), func(i int) bool { return revs[i].from > rev.from })
	if i > 0 && revs[i-1].from == rev.from {
		known := revs[i-1]
		if i < len(revs) { // an absence of unknown age may be known to follow
			rev.until = min(rev.until, revs[i].from-1)
		}
		known.until = max(known.until, rev.until)
		o.used.MoveToFront(known.use)
		return known
	}
	if i > 0 && revs[i-1].until >= rev.from || i < len(revs) && revs[i].from <= rev.until {
		return rev // overlaps what is known (an absence of unknown age): usable, not worth keeping
	}
	o.makeRoom(rev.memSize())
	if o.bytes+rev.memSize() > o.budget {
		return rev
	}
	revs = o.cached[rev.oid] // makeRoom may have changed it
	i = sort.Search(len(revs), func(i int) bool { return revs[i].from > rev.from })
	revs = append(revs, nil)
	copy(revs[i+1:], revs[i:])
	revs[i] = rev
	o.cached[rev.oid] = revs
	rev.use = o.used.PushFront(rev)
	o.bytes += rev.memSize()
	return rev
}

// validUntil returns the last view at which what was loaded at view at is
// still right. Below the tail nothing is known about later changes.
func (o *Objects) validUntil(oid zodb.Oid, at zodb.Tid) zodb.Tid {
	o.mu.MustHold()
	if at < o.tail {
		return at
	}
	tids := o.changes[oid]
	i := sort.Search(len(tids), func(i int) bool { return tids[i] > at })
	if i == len(tids) {
		return forever
	}
	return tids[i] - 1
}

// makeRoom drops the least recently used revisions until need bytes fit.
func (o *Objects) makeRoom(need int64) {
	o.mu.MustHold()
	for o.bytes+need > o.budget && o.used.Len() > 0 {
		o.drop(o.used.Back().Value.(*revision))
	}
}

// drop removes rev from the cache.
func (o *Objects) drop(rev *revision) {
	o.mu.MustHold()
	revs := o.cached[rev.oid]
	for i, r := range revs {
		if r == rev {
			revs = append(revs[:i], revs[i+1:]...)
			break
		}
	}
	if len(revs) == 0 {
		delete(o.cached, rev.oid)
	} else {
		o.cached[rev.oid] = revs
	}
	o.used.Remove(rev.use)
	o.bytes -= rev.memSize()
}

// CacheStats tells how the node cache is doing.
type CacheStats struct {
	Bytes, Budget int64
	Revisions     int
	Hits, Misses  uint64
}

// CacheStats returns current figures of the node cache.
func (o *Objects) CacheStats() CacheStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return CacheStats{Bytes: o.bytes, Budget: o.budget, Revisions: o.used.Len(), Hits: o.hits, Misses: o.misses}
}
