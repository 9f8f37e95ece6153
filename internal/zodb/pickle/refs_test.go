package pickle

import (
	"iter"
	"slices"
)

// refs returns the references to objects of the same database that are
// anywhere in v, weak ones left out: each object once, in the order of the
// pickle. The value may be shared, nested and recursive in any way.
func refs(v any) iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		w := walk{todo: []any{v}, seen: make(map[any]bool)}
		for len(w.todo) > 0 {
			last := len(w.todo) - 1
			v := w.todo[last]
			w.todo = w.todo[:last]
			if ref, ok := v.(Ref); !ok {
				w.enter(v)
			} else if w.first(ref.Oid) && !yield(ref) {
				return
			}
		}
	}
}

// walk visits the values inside a value without recursion, since nesting is not
// bounded.
type walk struct {
	todo []any        // the next one is the last
	seen map[any]bool // *List, *Dict, *Object, tupleID, zodb.Oid
}

// tupleID tells tuples apart. They may be shared so that walking all of them
// takes exponential time.
type tupleID struct {
	first *any
	n     int
}

// enter puts the values that are directly inside v in front of what is to do.
func (w *walk) enter(v any) {
	begin := len(w.todo)
	switch x := v.(type) {
	case Tuple:
		w.tuple(x)
	case *List:
		if w.first(x) {
			w.todo = append(w.todo, x.Items...)
		}
	case *Dict:
		w.dict(x)
	case *Object:
		if w.first(x) {
			w.todo = append(w.todo, x.New)
			w.tuple(x.Args)
			w.dict(x.Kwargs)
			w.todo = append(w.todo, x.Items...)
			w.items(x.Dict)
			w.todo = append(w.todo, x.State)
		}
	}
	slices.Reverse(w.todo[begin:])
}

func (w *walk) first(key any) bool {
	if w.seen[key] {
		return false
	}
	w.seen[key] = true
	return true
}

func (w *walk) tuple(t Tuple) {
	if len(t) > 0 && w.first(tupleID{&t[0], len(t)}) {
		w.todo = append(w.todo, t...)
	}
}

func (w *walk) dict(d *Dict) {
	if d != nil && w.first(d) {
		w.items(d.Items)
	}
}

func (w *walk) items(items []Item) {
	for _, item := range items {
		w.todo = append(w.todo, item.Key, item.Value)
	}
}
