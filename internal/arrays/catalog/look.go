package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Object is one object as of a view, for those who go through a database step by step
// instead of by Walk.
type Object struct {
	reader
	obj *object
}

// Link is a reference of an object to another one.
type Link struct {
	Names []string // one, or more if the reference is inside of other values of the object
	Oid   zodb.Oid
	Class record.Class // as the reference tells it, or zero
}

// Look loads one object. Errors are those of storage.Loader and *storage.CorruptError.
func Look(ctx context.Context, src storage.Loader, at zodb.Tid, oid zodb.Oid) (*Object, error) {
	r := reader{src, at}
	o, err := r.object(ctx, oid)
	if err != nil {
		return nil, err
	}
	return &Object{r, o}, nil
}

// Class returns the class of the object.
func (o *Object) Class() record.Class { return o.obj.class }

// Entry returns what the object itself tells if it is an array or a file, else nil. The
// entry is not measured and has no path.
func (o *Object) Entry() *Entry {
	if o.obj.kind != arrayKind && o.obj.kind != fileKind {
		return nil
	}
	return newEntry("", o.obj)
}

// Links calls f for all links that Walk follows, in the same order. The names of a link are
// valid during the call. Nodes of a BTree that has the items of the object are read; damage
// says why one of them cannot be, and hides only the items there.
//
// Other errors are those that concern the database as a whole, and those of f as they are.
func (o *Object) Links(ctx context.Context, f func(*Link) error) (damage, err error) {
	if !o.mayLead() {
		return nil, nil
	}
	v := follower{array: o.obj.kind == arrayKind, f: f, nodes: make(map[zodb.Oid]bool)}
	err = o.links(ctx, o.obj, &v)
	if err == nil && len(v.nodes) == maxNodes {
		err = fmt.Errorf("its BTree has more than %d nodes, which are too many to look through", maxNodes)
	}
	return v.damage, err
}

// maxNodes bounds how many nodes of a BTree Links reads: some seconds of work.
const maxNodes = 200_000

// mayLead reports whether objects of the class can lead to others.
func (o *Object) mayLead() bool {
	if o.obj.kind == dataKind || o.obj.kind == fileKind {
		return false
	}
	_, tree := treeOf(o.obj.class)
	return !tree || hasObjects(o.obj.class)
}

// hasObjects reports whether the keys or the values of a BTree are objects, and not only
// numbers. The two letters are O for objects, in all modules of package BTrees.
func hasObjects(tree record.Class) bool { return strings.Contains(tree.Name[:2], "O") }

// Leads reports whether the object may lead to others. Only its own record is looked at.
func (o *Object) Leads() bool {
	if !o.mayLead() {
		return false
	}
	if _, ok := treeOf(o.obj.class); ok {
		return true
	}
	leads := errors.New("there is a link")
	v := follower{array: o.obj.kind == arrayKind, f: func(*Link) error { return leads }}
	return o.links(context.Background(), o.obj, &v) != nil || v.tree
}

// follower is a visitor that tells links.
type follower struct {
	array  bool // the object is one, and its own file is a part of it
	f      func(*Link) error
	nodes  map[zodb.Oid]bool // seen nodes of a tree; nil if none is to be read
	tree   bool              // the object has its items in a tree
	damage error
}

// link implements visitor.
func (v *follower) link(names []string, ref pickle.Ref) error {
	own := v.array && len(names) == 1 && names[0] == zfileAttr
	if own || kindOf(ref.Class) == dataKind {
		return nil
	}
	return v.f(&Link{names, ref.Oid, ref.Class})
}

// node implements visitor.
func (v *follower) node(oid zodb.Oid) bool {
	v.tree = true
	if v.nodes == nil || v.nodes[oid] || len(v.nodes) == maxNodes {
		return false
	}
	v.nodes[oid] = true
	return true
}

// lost implements visitor.
func (v *follower) lost(_ zodb.Oid, err error) error {
	if v.damage == nil {
		v.damage = err
	}
	return nil
}

// IsContainer reports whether objects of that class are there to lead to others, and are
// never arrays.
func IsContainer(class record.Class) bool {
	if _, ok := treeOf(class); ok {
		return hasObjects(class)
	}
	ours := strings.HasPrefix(class.Module, "persistent.") || strings.HasPrefix(class.Module, "Persistence.")
	return ours && contentKey(class, nil) != ""
}

// Measure sets what the file of the entry of the object tells, without a look at its blocks.
// Errors are those of Entry.Measure.
func (o *Object) Measure(ctx context.Context, e *Entry) error { return o.measure(ctx, e, false) }
