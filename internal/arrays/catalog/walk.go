package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Walk calls f for every array and file that can be reached from the root object
// as of view at, breadth first: an object has the path with the fewest names, and
// of equal ones the first, where items of mappings come in the order of their
// names. A database without root object has nothing.
//
// A damaged or missing object does not end the walk: f is told by Entry.Err. It
// is told of arrays and files, and also of damaged objects of any other class,
// since they may have led to some; such an entry has File 0.
//
// Errors are those of storage.Loader for the root object, those that concern the
// database as a whole, and those of f as they are.
func Walk(ctx context.Context, src storage.Loader, at zodb.Tid, f func(*Entry) error) error {
	r := reader{src, at}
	w := newWalk(ctx, r, func(e *Entry) error {
		if e.Err == nil {
			e.Err = r.measure(ctx, e, true)
		}
		if e.Err != nil && endsWalk(ctx, e.Err) {
			return e.Err
		}
		return f(e)
	})
	return w.run()
}

// path is the way to an object. It is a list from its end so that long paths
// share what they have in common. The path of the root object is nil.
type path struct {
	parent *path
	name   string
}

func (p *path) extend(names []string) *path {
	for _, name := range names {
		p = &path{p, name}
	}
	return p
}

func (p *path) String() string {
	var names []string
	for ; p != nil; p = p.parent {
		names = append(names, p.name)
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// step is a link to follow.
type step struct {
	oid   zodb.Oid
	path  *path
	level int          // names in the path
	class record.Class // as the reference tells it, or zero
}

// visited is the level of objects that are dealt with.
const visited = -1

// walk is one walk through a database.
type walk struct {
	reader
	ctx   context.Context
	found func(*Entry) error // told every entry, which is not measured yet

	todo    [][]step         // the first ones have cur.level names, the next one more, and so on
	level   int              // of todo[0]
	best    map[zodb.Oid]int // level on which an object is in todo, or visited
	objects int              // visited so far

	cur     step
	curKind kind
}

func newWalk(ctx context.Context, r reader, found func(*Entry) error) *walk {
	return &walk{reader: r, ctx: ctx, found: found, best: make(map[zodb.Oid]int)}
}

func (w *walk) run() error {
	w.todo = [][]step{{{oid: rootOid}}}
	for len(w.todo) > 0 {
		for len(w.todo[0]) > 0 {
			s := w.todo[0][0]
			w.todo[0] = w.todo[0][1:]
			if w.best[s.oid] != s.level {
				continue // a shorter path was found meanwhile
			}
			w.best[s.oid] = visited
			if err := w.visit(s); err != nil {
				return err
			}
		}
		w.todo = w.todo[1:]
		w.level++
	}
	return nil
}

// visit loads the object at s and notes what it refers to.
func (w *walk) visit(s step) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	w.objects++
	o, err := w.object(w.ctx, s.oid)
	if err != nil {
		return w.unreadable(s, err)
	}
	w.cur, w.curKind = s, o.kind
	switch o.kind {
	case dataKind:
		return nil
	case fileKind:
		return w.found(newEntry(s.path.String(), o))
	case arrayKind:
		if err := w.found(newEntry(s.path.String(), o)); err != nil {
			return err
		}
	}
	return w.links(w.ctx, o, w)
}

// unreadable tells about an object that cannot be read.
func (w *walk) unreadable(s step, err error) error {
	if endsWalk(w.ctx, err) {
		return err
	}
	missing := storage.IsNoData(err)
	if s.oid == rootOid {
		if missing {
			return nil
		}
		return fmt.Errorf("root object: %w", err)
	}
	e := &Entry{Path: s.path.String(), Oid: s.oid, Class: s.class, Err: err}
	switch kind := kindOf(s.class); {
	case kind == fileKind:
		e.File = s.oid
	case kind == otherKind && missing:
		return nil // whatever it led to is garbage
	}
	return w.found(e)
}

// link implements visitor: it notes what is to be followed.
func (w *walk) link(names []string, ref pickle.Ref) error {
	own := w.curKind == arrayKind && len(names) == 1 && names[0] == zfileAttr
	if own || kindOf(ref.Class) == dataKind {
		return nil
	}
	level := w.cur.level + len(names)
	if best, ok := w.best[ref.Oid]; ok && best <= level {
		return nil
	}
	w.best[ref.Oid] = level
	for len(w.todo) <= level-w.level {
		w.todo = append(w.todo, nil)
	}
	next := &w.todo[level-w.level]
	*next = append(*next, step{ref.Oid, w.cur.path.extend(names), level, ref.Class})
	return nil
}

// node implements visitor: it lets every node be read once.
func (w *walk) node(oid zodb.Oid) bool {
	if level, ok := w.best[oid]; ok && level == visited {
		return false
	}
	w.best[oid] = visited
	w.objects++
	return true
}

// lost implements visitor. The path is that of the tree.
func (w *walk) lost(oid zodb.Oid, err error) error {
	return w.found(&Entry{Path: w.cur.path.String(), Oid: oid, Err: err})
}
