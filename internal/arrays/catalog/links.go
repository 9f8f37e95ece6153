package catalog

import (
	"cmp"
	"context"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// visitor is told what objects refer to.
type visitor interface {
	// link is told a reference and the names that lead to it: one, or more if
	// the reference is inside of other values. names is valid during the call.
	link(names []string, ref pickle.Ref) error

	// node is asked whether a node of a BTree, which has no name, should be
	// looked at.
	node(oid zodb.Oid) bool

	// lost is told that a node of a BTree cannot be read.
	lost(oid zodb.Oid, err error) error
}

// maxNest bounds how deep values may be inside of each other for references in
// them to be found. It bounds the stack.
const maxNest = 100

// links tells v what o refers to. Errors are those of v and those that end a walk.
func (r reader) links(ctx context.Context, o *object, v visitor) error {
	if _, ok := treeOf(o.class); ok {
		return r.treeLinks(ctx, o, v)
	}
	w := valueWalk{v: v, seen: make(map[any]bool)}
	dicts := attributes(o.state)
	if dicts == nil {
		return w.inside(o.state)
	}
	content := contentKey(o.class, o.state)
	for _, dict := range dicts {
		if content != "" {
			items, _ := dict.Get(content)
			if tree, ok := treeRef(items); ok { // a mapping whose items are in a BTree
				if err := r.contentTree(ctx, o, tree.Oid, v); err != nil {
					return err
				}
				dict = without(dict, content)
			} else if err := w.inside(items); err != nil {
				return err
			}
		}
		if err := w.inside(dict); err != nil { // the content is seen already
			return err
		}
	}
	return nil
}

// contentTree tells v what the items of the BTree refer to that a mapping has its items
// in.
func (r reader) contentTree(ctx context.Context, o *object, tree zodb.Oid, v visitor) error {
	if !v.node(tree) {
		return nil
	}
	content, err := r.object(ctx, tree)
	switch {
	case err != nil && endsWalk(ctx, err):
		return err
	case err != nil:
		return v.lost(tree, err)
	}
	if _, ok := treeOf(content.class); ok {
		return r.treeLinks(ctx, content, v)
	}
	return v.lost(tree, &storage.CorruptError{Oid: tree, Tid: content.serial, Err: fmt.Errorf("expect a BTree as the content of a %.200s; got a %.200s", o.class, content.class)})
}

// treeRef returns v if it is a reference to a BTree.
func treeRef(v any) (ref pickle.Ref, ok bool) {
	if ref, ok = v.(pickle.Ref); ok {
		_, ok = treeOf(ref.Class)
	}
	return ref, ok
}

// without returns dict without a key.
func without(dict *pickle.Dict, key string) *pickle.Dict {
	return &pickle.Dict{Items: slices.DeleteFunc(slices.Clone(dict.Items), func(item pickle.Item) bool {
		name, ok := pickle.Text(item.Key)
		return ok && name == key
	})}
}

// valueWalk looks for references inside a value.
type valueWalk struct {
	v     visitor
	names []string
	seen  map[any]bool // *pickle.List, *pickle.Dict, *pickle.Object, *any of a pickle.Tuple
}

// inside looks at what is inside a value, each thing under a name of its own. A
// reference has nothing inside: it is only met here as the whole state of an
// object.
func (w *valueWalk) inside(v any) error {
	switch v := v.(type) {
	case pickle.Ref:
		return w.named("0", v)
	case pickle.Tuple:
		if len(v) > 0 && w.first(&v[0]) {
			return w.sequence(v)
		}
	case *pickle.List:
		if w.first(v) {
			return w.sequence(v.Items)
		}
	case *pickle.Dict:
		if w.first(v) {
			return w.items(v.Items)
		}
	case *pickle.Object:
		if w.first(v) {
			return w.object(v)
		}
	}
	return nil
}

func (w *valueWalk) first(id any) bool {
	if w.seen[id] {
		return false
	}
	w.seen[id] = true
	return true
}

// named looks at a value under a name.
func (w *valueWalk) named(name string, v any) error {
	if len(w.names) == maxNest {
		return nil
	}
	w.names = append(w.names, name)
	defer func() { w.names = w.names[:len(w.names)-1] }()
	if ref, ok := v.(pickle.Ref); ok {
		return w.v.link(w.names, ref)
	}
	return w.inside(v)
}

func (w *valueWalk) sequence(values []any) error {
	for i, v := range values {
		if !mayRefer(v) {
			continue
		}
		if err := w.named(strconv.Itoa(i), v); err != nil {
			return err
		}
	}
	return nil
}

// items looks at the items of a dict in the order of their names.
func (w *valueWalk) items(items []pickle.Item) error {
	for _, item := range byName(items) {
		if err := w.item(item); err != nil {
			return err
		}
	}
	return nil
}

// item looks at one item of a mapping. Keys may be or have references, too.
func (w *valueWalk) item(item namedItem) error {
	for _, v := range []any{item.key, item.value} {
		if mayRefer(v) {
			if err := w.named(item.name, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// object looks at a value that has attributes, items or both.
func (w *valueWalk) object(o *pickle.Object) error {
	dicts := attributes(o.State)
	for _, dict := range dicts {
		if err := w.inside(dict); err != nil {
			return err
		}
	}
	if dicts == nil {
		if err := w.inside(o.State); err != nil {
			return err
		}
	}
	if err := w.items(o.Dict); err != nil {
		return err
	}
	if o.Kwargs != nil {
		if err := w.inside(o.Kwargs); err != nil {
			return err
		}
	}
	if err := w.inside(o.Args); err != nil {
		return err
	}
	return w.sequence(o.Items)
}

// mayRefer reports whether a value is or may have a reference.
func mayRefer(v any) bool {
	switch v.(type) {
	case pickle.Ref, pickle.Tuple, *pickle.List, *pickle.Dict, *pickle.Object:
		return true
	}
	return false
}

// namedItem is an item of a dict.
type namedItem struct {
	name       string
	key, value any
}

// byName returns the items in the order of their names. Of those with the same
// key only the last one counts.
func byName(items []pickle.Item) []namedItem {
	named := make([]namedItem, len(items))
	for i, item := range items {
		named[i] = namedItem{nameOf(item.Key), item.Key, item.Value}
	}
	slices.SortStableFunc(named, func(a, b namedItem) int { return cmp.Compare(a.name, b.name) })
	kept := named[:0]
	for i, item := range named {
		if i+1 == len(named) || !sameKey(item, named[i+1]) {
			kept = append(kept, item)
		}
	}
	return kept
}

// sameKey reports whether two items have the same key, as far as keys that are
// no text or integers do not matter.
func sameKey(a, b namedItem) bool {
	if a.name != b.name {
		return false
	}
	_, aText := pickle.Text(a.key)
	_, bText := pickle.Text(b.key)
	_, aInt := pickle.Int(a.key)
	_, bInt := pickle.Int(b.key)
	return aText && bText || aInt && bInt
}

// nameOf returns what a key is called in a path.
func nameOf(key any) string {
	switch key := key.(type) {
	case nil:
		return "None"
	case bool:
		if key {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(key, 10)
	case *big.Int:
		return key.String()
	case float64:
		return strconv.FormatFloat(key, 'g', -1, 64)
	case string:
		return key
	case pickle.Bytes:
		if utf8.ValidString(string(key)) {
			return string(key)
		}
		return fmt.Sprintf("%x", string(key))
	case record.Class:
		return key.String()
	case pickle.Ref:
		return key.Oid.String()
	case pickle.Tuple:
		return tupleName(key)
	}
	return "?"
}

// tupleName returns a name for a tuple that is a key, as Python shows it but
// without quotes.
func tupleName(t pickle.Tuple) string {
	const maxItems = 8
	name := "("
	for i, v := range t {
		switch v := v.(type) {
		case pickle.Tuple:
			name += "(...)"
		default:
			name += nameOf(v)
		}
		if i == maxItems {
			return name + ", ...)"
		}
		if i < len(t)-1 {
			name += ", "
		}
	}
	return name + ")"
}
