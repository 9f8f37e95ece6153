package naming

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/errgroup"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/flight"
	"github.com/wcfs/wcfs/internal/core/form"
	"github.com/wcfs/wcfs/internal/serve/fusefs"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	rootOid zodb.Oid = 0

	maxCached = 3 * maxNames / 2 // names of all listings that are kept, about 150 MB
	maxForms  = 1000             // forms that are kept; one takes a page or two
	maxPath   = 4000             // bytes of a path that programs can open; the kernel takes 4095
	maxLoads  = 16               // records of one directory that are loaded at a time
)

// Tree is the tree of names of a database, at all its views. Make it with New.
type Tree struct {
	src   storage.Loader
	loads *flight.Group[zodb.Xid, *listing]
	forms *lru.Cache[zodb.Xid, *form.Form]

	mu       sync.Mutex // map operations only
	listings *simplelru.LRU[zodb.Xid, *listing]
	names    int // of all listings
}

var _ fusefs.Naming = (*Tree)(nil)

// New returns the tree of a database.
func New(ctx context.Context, src storage.Loader) *Tree {
	t := &Tree{src: src, loads: flight.NewGroup[zodb.Xid, *listing](ctx)}
	t.forms, _ = lru.New[zodb.Xid, *form.Form](maxForms) // an error is for sizes below 1
	t.listings, _ = simplelru.NewLRU(maxCached, func(_ zodb.Xid, l *listing) { t.names -= l.cost() })
	return t
}

// Close ends what is under way, and waits for that.
func (t *Tree) Close() { t.loads.Close() }

// cost returns how much of the bound a listing takes.
func (l *listing) cost() int { return l.names + 10 }

// listing returns what an object links to.
func (t *Tree) listing(ctx context.Context, at zodb.Tid, oid zodb.Oid) (*listing, error) {
	xid := zodb.Xid{At: at, Oid: oid}
	t.mu.Lock()
	l, ok := t.listings.Get(xid)
	t.mu.Unlock()
	if ok {
		return l, nil
	}
	return t.loads.Do(ctx, xid, func(ctx context.Context) (*listing, error) {
		l, err := load(ctx, t.src, at, oid)
		if err == nil && l.damage == nil {
			t.keep(xid, l)
		}
		return l, err
	})
}

// keep caches a listing, in the place of those that were not used for longest.
func (t *Tree) keep(xid zodb.Xid, l *listing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listings.Remove(xid)
	t.listings.Add(xid, l)
	t.names += l.cost()
	for t.names > maxCached && t.listings.Len() > 1 {
		t.listings.RemoveOldest()
	}
}

// way is where a path leads to: a directory, and the objects on the path, the last of
// which has it.
type way struct {
	objects []onWay
	dir     *directory
	names   []string
}

// onWay is an object on a path, and how many names of the path lead to it.
type onWay struct {
	*listing
	level int
}

// walk goes along a path to a directory.
func (t *Tree) walk(ctx context.Context, at zodb.Tid, path string) (*way, error) {
	root, err := t.listing(ctx, at, rootOid)
	if err != nil {
		return nil, err
	}
	w := &way{objects: []onWay{{root, 0}}, dir: root.root, names: split(path)}
	for i, name := range w.names {
		last := w.objects[len(w.objects)-1]
		pos, ok := w.dir.find(name)
		if !ok {
			return nil, last.missing(path)
		}
		e := &w.dir.entries[pos]
		if e.inside != nil {
			w.dir = e.inside
			continue
		}
		l, err := t.listing(ctx, at, e.oid)
		if err != nil {
			return nil, err
		}
		w.objects = append(w.objects, onWay{l, i + 1})
		w.dir = l.root
	}
	return w, nil
}

// split returns the names of a path.
func split(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// missing says why something is not in a listing.
func (l *listing) missing(path string) error {
	if l.damage != nil {
		return l.damage
	}
	return &fault.Error{Kind: fault.NoName, About: path, Msg: "the database has nothing of that name"}
}

// List implements fusefs.Naming.
func (t *Tree) List(ctx context.Context, at zodb.Tid, dir string) ([]fusefs.Item, error) {
	w, err := t.walk(ctx, at, dir)
	if err != nil {
		return nil, err
	}
	items := make([]fusefs.Item, len(w.dir.entries))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(maxLoads)
	for pos := range items {
		if w.dir.known(pos) {
			continue
		}
		group.Go(func() error {
			_, err := t.look(inner, at, w.dir, pos)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for pos := range items {
		if items[pos], err = t.item(ctx, at, w, pos); err != nil {
			return nil, err
		}
	}
	items = slices.DeleteFunc(items, isNothing)
	return items, w.objects[len(w.objects)-1].damage
}

// Find implements fusefs.Naming.
func (t *Tree) Find(ctx context.Context, at zodb.Tid, path string) (fusefs.Item, error) {
	w, pos, err := t.find(ctx, at, path)
	if err != nil {
		return fusefs.Item{}, err
	}
	item, err := t.item(ctx, at, w, pos)
	if err == nil && isNothing(item) {
		err = w.objects[len(w.objects)-1].missing(path)
	}
	return item, err
}

// find goes along a path to an entry.
func (t *Tree) find(ctx context.Context, at zodb.Tid, path string) (w *way, pos int, err error) {
	dir, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	if w, err = t.walk(ctx, at, dir); err != nil {
		return nil, 0, err
	}
	pos, ok := w.dir.find(name)
	if !ok {
		return nil, 0, w.objects[len(w.objects)-1].missing(path)
	}
	return w, pos, nil
}

// isNothing reports whether an item is not shown.
func isNothing(i fusefs.Item) bool { return !i.Dir && !i.JSON }

// item returns an entry as the mount shows it.
func (t *Tree) item(ctx context.Context, at zodb.Tid, w *way, pos int) (fusefs.Item, error) {
	e := &w.dir.entries[pos]
	item := fusefs.Item{Name: e.name, Dir: true}
	if e.inside == nil {
		note, err := t.look(ctx, at, w.dir, pos)
		if err != nil {
			return item, err
		}
		item.Dir, item.NPY, item.JSON = note&isDir != 0, note&hasNPY != 0, note&hasJSON != 0
		if item.JSON {
			item.Oid = e.oid
		}
		if item.Dir {
			item.Link = w.link(pos)
		}
	}
	if len(strings.Join(w.names, "/"))+len("/")+len(item.Name) > maxPath {
		item.Dir, item.Link = false, ""
	}
	return item, nil
}

// link returns the relative path to where the object of an entry is a directory, empty if
// that is here. It is where objects on the way lead to it with the fewest names, and of
// equal ones the first object.
func (w *way) link(pos int) string {
	oid := w.dir.entries[pos].oid
	best := len(w.names) + 2
	var names []string // of the path to the best place, below
	var from int       // names on the way
	here := false
	for _, o := range w.objects {
		if o.oid == oid && o.level < best {
			best, from, names, here = o.level, o.level, nil, false
		}
		if h, ok := o.home(oid); ok && o.level+h.dir.level+1 < best {
			best, from, names = o.level+h.dir.level+1, o.level, h.dir.path(h.at)
			here = h.dir == w.dir && h.at == pos
		}
	}
	if here || best > len(w.names)+1 {
		return ""
	}
	up := slices.Repeat([]string{".."}, len(w.names)-from)
	if to := strings.Join(append(up, names...), "/"); to != "" {
		return to
	}
	return "."
}
