package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// treeKind says what kind of BTree node a class is. Its keys are of any type.
type treeKind struct {
	tree bool // or else a bucket
	set  bool // of keys, or else a mapping
}

// treeOf reports whether a class is of package BTrees, and which.
func treeOf(class record.Class) (k treeKind, ok bool) {
	if !strings.HasPrefix(class.Module, "BTrees.") {
		return treeKind{}, false
	}
	name := strings.TrimSuffix(class.Name, "Py")
	if len(name) < 2 {
		return treeKind{}, false
	}
	switch name[2:] {
	case "BTree":
		return treeKind{tree: true}, true
	case "Bucket":
		return treeKind{}, true
	case "TreeSet":
		return treeKind{tree: true, set: true}, true
	case "Set":
		return treeKind{set: true}, true
	}
	return treeKind{}, false
}

// treeNode is one decoded node of a BTree.
type treeNode struct {
	next  []zodb.Oid    // children of a tree, or the bucket after a bucket
	items []pickle.Item // of a bucket; a set has keys only
}

// parseNode decodes the state of a node. The forms are those of __getstate__ in
// BTrees/BTreeTemplate.c, BucketTemplate.c and SetTemplate.c.
func parseNode(k treeKind, state any) (treeNode, error) {
	if !k.tree {
		return parseBucket(k, state)
	}
	if state == nil {
		return treeNode{}, nil
	}
	t, _ := state.(pickle.Tuple)
	if len(t) == 0 || len(t) > 2 {
		return treeNode{}, errors.New("state of a tree: expect None or a tuple of one or two items")
	}
	children, ok := t[0].(pickle.Tuple)
	switch {
	case !ok || len(children)%2 == 0:
		return treeNode{}, errors.New("children of a tree: expect a tuple of odd length")
	case len(t) == 1:
		return parseBucket(k, children[0])
	}
	n := treeNode{next: make([]zodb.Oid, 0, len(children)/2+1)}
	for i := 0; i < len(children); i += 2 {
		ref, ok := children[i].(pickle.Ref)
		if !ok {
			return treeNode{}, fmt.Errorf("child #%d of a tree: expect a reference; got %T", i/2, children[i])
		}
		n.next = append(n.next, ref.Oid)
	}
	return n, nil
}

func parseBucket(k treeKind, state any) (n treeNode, err error) {
	t, _ := state.(pickle.Tuple)
	if len(t) == 0 || len(t) > 2 {
		return n, errors.New("state of a bucket: expect a tuple of one or two items")
	}
	data, ok := t[0].(pickle.Tuple)
	if !ok || !k.set && len(data)%2 != 0 {
		return n, errors.New("items of a bucket: expect a tuple of keys and values")
	}
	if len(t) == 2 {
		ref, ok := t[1].(pickle.Ref)
		if !ok {
			return n, fmt.Errorf("next bucket: expect a reference; got %T", t[1])
		}
		n.next = []zodb.Oid{ref.Oid}
	}
	step := 2
	if k.set {
		step = 1
	}
	for i := 0; i < len(data); i += step {
		item := pickle.Item{Key: data[i]}
		if !k.set {
			item.Value = data[i+1]
		}
		n.items = append(n.items, item)
	}
	return n, nil
}

// treeLinks tells v what the items of a BTree refer to. o is its root, or a bucket
// that is there on its own. Members of a set are named by their position.
func (r reader) treeLinks(ctx context.Context, o *object, v visitor) error {
	t := treeWalk{v: v}
	todo, err := t.add(o)
	if err != nil {
		return err
	}
	for len(todo) > 0 {
		last := len(todo) - 1
		oid := todo[last]
		todo = todo[:last]
		if !v.node(oid) {
			continue
		}
		o, err := r.object(ctx, oid)
		if err != nil {
			if endsWalk(ctx, err) {
				return err
			}
			if err := v.lost(oid, err); err != nil {
				return err
			}
			continue
		}
		next, err := t.add(o)
		if err != nil {
			return err
		}
		todo = append(todo, next...)
	}
	return nil
}

// treeWalk is a walk through the nodes of one BTree.
type treeWalk struct {
	v     visitor
	count int // members of a set so far
}

// add tells what the items of node o refer to, and returns what nodes to look at
// next, the first one last. Neighbours of buckets are among them, as for Python,
// so what one of two ways leads to is found.
func (t *treeWalk) add(o *object) (next []zodb.Oid, err error) {
	k, ok := treeOf(o.class)
	var n treeNode
	if !ok {
		err = fmt.Errorf("expect a node of a tree; got one of class %.200s", o.class)
	} else {
		n, err = parseNode(k, o.state)
	}
	if err != nil {
		return nil, t.v.lost(o.oid, &storage.CorruptError{Oid: o.oid, Tid: o.serial, Err: err})
	}
	w := valueWalk{v: t.v, seen: make(map[any]bool)}
	for _, item := range n.items {
		name := nameOf(item.Key)
		if k.set {
			name = strconv.Itoa(t.count)
			t.count++
		}
		if err := w.item(namedItem{name, item.Key, item.Value}); err != nil {
			return nil, err
		}
	}
	slices.Reverse(n.next)
	return n.next, nil
}
