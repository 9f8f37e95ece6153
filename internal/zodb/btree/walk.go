package btree

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Step is one visited node: its revision, and the interval of keys lo <= key <=
// hi that are routed to it.
type Step struct {
	Oid     zodb.Oid
	Serial  zodb.Tid // 0 or the tid of deletion if it does not exist
	Lo, Hi  int64
	Missing bool // it does not exist at that view, and counts as an empty leaf
}

// Found is the result of Lookup.
type Found struct {
	Value zodb.Oid // when OK
	OK    bool     // whether the key is there
	Path  []Step   // root to leaf, also when the key is not there
}

// Lookup finds key in the tree root as of view at. Errors are those of src, and
// *storage.CorruptError.
func Lookup(ctx context.Context, src Source, root zodb.Oid, at zodb.Tid, key int64) (Found, error) {
	w := walk{ctx: ctx, src: src, at: at}
	found := Found{Path: make([]Step, 0, 4)}
	oid, lo, hi := root, int64(math.MinInt64), int64(math.MaxInt64)
	for {
		n, step, err := w.visit(oid, lo, hi, len(found.Path))
		if err != nil {
			return Found{}, fmt.Errorf("lookup %d in tree %s: %w", key, root, err)
		}
		found.Path = append(found.Path, step)
		if n.Leaf() {
			found.Value, found.OK = n.Get(key)
			return found, nil
		}
		oid, lo, hi = n.Child(n.Route(key), lo, hi)
	}
}

// MissingError returns a *storage.CorruptError if a node of path does not exist
// as of view at, else nil. A tree with such a hole routes keys, but what it
// shows may be wrong: its node was deleted, or packed away.
func MissingError(path []Step, at zodb.Tid) error {
	for _, step := range path {
		if step.Missing {
			return &storage.CorruptError{Oid: step.Oid, Tid: at,
				Err: errors.New("a tree refers to the object, but it does not exist at this view; deleted or packed away?")}
		}
	}
	return nil
}

// MaxKey finds the largest key of the tree root as of view at; ok is false if
// there is none. It goes right, and further to the left only if a leaf is empty.
// path has all nodes it visited, in the order of visits: as long as none of
// them changes, the result does not.
func MaxKey(ctx context.Context, src Source, root zodb.Oid, at zodb.Tid) (key int64, ok bool, path []Step, err error) {
	w := walk{ctx: ctx, src: src, at: at}
	key, ok, err = w.maxKey(root, math.MinInt64, math.MaxInt64, 0)
	if err != nil {
		return 0, false, nil, fmt.Errorf("max key of tree %s: %w", root, err)
	}
	return key, ok, w.path, nil
}

// Items calls f for every lo <= key <= hi of the tree root as of view at, in
// ascending order. An error of f ends it and is returned wrapped.
func Items(ctx context.Context, src Source, root zodb.Oid, at zodb.Tid, lo, hi int64, f func(key int64, value zodb.Oid) error) error {
	if lo > hi {
		return nil
	}
	w := walk{ctx: ctx, src: src, at: at}
	if err := w.items(root, lo, hi, 0, f); err != nil {
		return fmt.Errorf("items of tree %s: %w", root, err)
	}
	return nil
}

// walk is one walk through a tree.
type walk struct {
	ctx    context.Context
	src    Source
	at     zodb.Tid
	family Family // of the nodes so far

	path []Step                // maxKey only: visited nodes
	seen map[zodb.Oid]struct{} // maxKey and items only, once there are some
	few  []zodb.Oid            // the same, as long as there are few
}

// Errors of a tree as a whole, told of one of its nodes.
var (
	ErrTooDeep = fmt.Errorf("tree is deeper than %d nodes", MaxDepth)
	ErrTwice   = errors.New("node is linked to its tree more than once")
)

// visit loads a node that depth nodes are above of.
func (w *walk) visit(oid zodb.Oid, lo, hi int64, depth int) (*Node, Step, error) {
	n, serial, err := w.src.Node(w.ctx, zodb.Xid{At: w.at, Oid: oid})
	if err != nil {
		return nil, Step{}, err
	}
	if depth >= MaxDepth {
		return nil, Step{}, &storage.CorruptError{Oid: oid, Tid: serial, Err: ErrTooDeep}
	}
	if n.family != AnyFamily {
		if w.family == AnyFamily {
			w.family = n.family
		}
		if n.family != w.family {
			err := fmt.Errorf("expect a node of a %s; got one of a %s", w.family, n.family)
			return nil, Step{}, &storage.CorruptError{Oid: oid, Tid: serial, Err: err}
		}
	}
	return n, Step{oid, serial, lo, hi, n == Empty}, nil
}

// visitOnce is visit for walks that branch: without it a few nodes that are
// linked to each other many times would take exponential time.
func (w *walk) visitOnce(oid zodb.Oid, lo, hi int64, depth int) (*Node, Step, error) {
	n, step, err := w.visit(oid, lo, hi, depth)
	if err == nil && !w.first(oid) {
		err = &storage.CorruptError{Oid: oid, Tid: step.Serial, Err: ErrTwice}
	}
	return n, step, err
}

// first remembers oid and reports whether it was not met before.
func (w *walk) first(oid zodb.Oid) bool {
	const maxFew = 16
	if w.seen == nil {
		if slices.Contains(w.few, oid) {
			return false
		}
		w.few = append(w.few, oid)
		if len(w.few) > maxFew {
			w.seen = make(map[zodb.Oid]struct{}, 4*maxFew)
			for _, oid := range w.few {
				w.seen[oid] = struct{}{}
			}
		}
		return true
	}
	if _, ok := w.seen[oid]; ok {
		return false
	}
	w.seen[oid] = struct{}{}
	return true
}

func (w *walk) maxKey(oid zodb.Oid, lo, hi int64, depth int) (key int64, ok bool, err error) {
	n, step, err := w.visitOnce(oid, lo, hi, depth)
	if err != nil {
		return 0, false, err
	}
	w.path = append(w.path, step)
	if n.Leaf() {
		i, found := slices.BinarySearch(n.keys, hi)
		if found {
			i++
		}
		if i == 0 || n.keys[i-1] < lo {
			return 0, false, nil
		}
		return n.keys[i-1], true, nil
	}
	for i := len(n.oids) - 1; i >= 0; i-- {
		child, clo, chi := n.Child(i, lo, hi)
		if clo > chi {
			continue
		}
		if key, ok, err := w.maxKey(child, clo, chi, depth+1); ok || err != nil {
			return key, ok, err
		}
	}
	return 0, false, nil
}

func (w *walk) items(oid zodb.Oid, lo, hi int64, depth int, f func(int64, zodb.Oid) error) error {
	n, _, err := w.visitOnce(oid, lo, hi, depth)
	if err != nil {
		return err
	}
	if n.Leaf() {
		i, _ := slices.BinarySearch(n.keys, lo)
		for ; i < len(n.keys) && n.keys[i] <= hi; i++ {
			if err := f(n.keys[i], n.oids[i]); err != nil {
				return err
			}
		}
		return nil
	}
	for i := n.Route(lo); i <= n.Route(hi); i++ {
		child, clo, chi := n.Child(i, lo, hi)
		if clo > chi {
			continue
		}
		if err := w.items(child, clo, chi, depth+1, f); err != nil {
			return err
		}
	}
	return nil
}
