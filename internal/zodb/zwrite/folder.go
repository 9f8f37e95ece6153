package zwrite

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// classMapping is the class of the root object, and of folders made here.
var classMapping = record.Class{Module: "persistent.mapping", Name: "PersistentMapping"}

// maxItems is how many items a mapping of arrays has before they are moved into a BTree. The
// record of a mapping has all of its items, and is written as a whole: without a bound
// a database grows with the square of the number of its names.
const maxItems = 250

// Folder is an object that has other objects by name: a PersistentMapping, or an
// OOBTree. The names of a mapping may also be in an OOBTree that takes the place of
// its dict: most of what applications do with it stays as it was, see
// "Writing" in DESIGN.rst.
//
// A Folder is changed in memory until Flush. After an error of Set or Delete it must
// be abandoned. It is for one goroutine.
type Folder struct {
	txn   btree.Txn
	oid   zodb.Oid
	class record.Class

	tree *btree.Names // has the names; or nil, and they are in:

	items []pickle.Item // each key once
	plain bool          // of text and references only, and from Python 3: written as Python does
	data  []byte        // of the record, if it is not plain

	changed bool // the record of the object itself; tree knows what to write
}

// FolderError says that an object cannot be written as a folder, though it may be all
// right.
type FolderError struct {
	Oid   zodb.Oid
	Class record.Class
	Msg   string
}

func (e *FolderError) Error() string {
	return fmt.Sprintf("object %s, a %.200s, %s; that is left to the application that made it", e.Oid, e.Class, e.Msg)
}

// NewFolder makes an empty folder, which exists once Flush was called.
func NewFolder(txn btree.Txn) *Folder { return newFolder(txn, txn.New()) }

func newFolder(txn btree.Txn, oid zodb.Oid) *Folder {
	return &Folder{txn: txn, oid: oid, class: classMapping, plain: true, changed: true}
}

// IsFolder reports whether objects of that class can be folders.
func IsFolder(class record.Class) bool {
	return class.Name == classMapping.Name || class == btree.ClassNames
}

// OpenFolder loads a folder. Errors are those of txn.Load, *storage.CorruptError, and
// *FolderError, which the methods may return as well.
func OpenFolder(txn btree.Txn, oid zodb.Oid) (*Folder, error) {
	f := &Folder{txn: txn, oid: oid}
	data, serial, err := txn.Load(oid)
	if err != nil {
		return nil, err
	}
	class, state, err := pickle.Record(data)
	if err != nil {
		return nil, &storage.CorruptError{Oid: oid, Tid: serial, Err: err}
	}
	f.class, f.data = class, data
	switch {
	case class == btree.ClassNames:
		f.tree, err = btree.EditNames(txn, oid)
		return f, f.foreign(err)
	case class.Name != classMapping.Name:
		return nil, f.errorf("is no mapping of names")
	}
	return f, f.setMapping(state)
}

// setMapping takes the state of a PersistentMapping.
func (f *Folder) setMapping(state any) (err error) {
	outer, ok := state.(*pickle.Dict)
	if !ok || len(outer.Items) != 1 {
		return f.errorf("has more than names")
	}
	content, ok := outer.Get(rootKey)
	if !ok {
		content, _ = outer.Get(oldRootKey)
	}
	switch content := content.(type) {
	case *pickle.Dict:
		f.items = uniqueItems(content.Items)
		_, text := outer.Items[0].Key.(string) // a str of Python 2 is none
		f.plain = ok && text && f.class == classMapping && slices.Equal(f.data[:min(2, len(f.data))], []byte{0x80, 3}) && allPlain(f.items)
		return nil
	case pickle.Ref:
		if content.Class == btree.ClassNames {
			f.tree, err = btree.EditNames(f.txn, content.Oid)
			return f.foreign(err)
		}
	}
	return f.errorf("keeps its names in a form that is not known")
}

// uniqueItems returns the items of a dict. Of a key that comes twice the last value
// counts.
func uniqueItems(items []pickle.Item) []pickle.Item {
	last := make(map[string]int)
	for i, item := range items {
		if key, ok := pickle.Text(item.Key); ok {
			last[key] = i
		}
	}
	var unique []pickle.Item
	for i, item := range items {
		if key, ok := pickle.Text(item.Key); !ok || last[key] == i {
			unique = append(unique, item)
		}
	}
	return unique
}

// allPlain reports whether all keys are text of Python 3, and all values references.
func allPlain(items []pickle.Item) bool {
	return !slices.ContainsFunc(items, func(item pickle.Item) bool {
		key, ok := item.Key.(string)
		ref, isRef := item.Value.(pickle.Ref)
		return !ok || !utf8.ValidString(key) || !isRef || ref.Class == (record.Class{})
	})
}

// ofArrays reports whether items lead to arrays and folders of them only. A mapping
// with something of an application in it stays as that has made it.
func ofArrays(items []pickle.Item) bool {
	return !slices.ContainsFunc(items, func(item pickle.Item) bool {
		ref, _ := item.Value.(pickle.Ref)
		return ref.Class != record.ZBigFile && ref.Class != record.ZBigArray && !IsFolder(ref.Class)
	})
}

func (f *Folder) errorf(format string, args ...any) error {
	return &FolderError{f.oid, f.class, fmt.Sprintf(format, args...)}
}

// foreign makes an error of the tree one of the folder.
func (f *Folder) foreign(err error) error {
	var foreign *btree.ForeignError
	if errors.As(err, &foreign) {
		return f.errorf("%s", foreign.Msg)
	}
	return err
}

// Ref returns a reference to the folder.
func (f *Folder) Ref() btree.Ref { return btree.Ref{Oid: f.oid, Class: f.class} }

// Get returns what a name refers to. If the name is there with a value that is no
// reference to an object of known class, there is true and the Ref is zero.
func (f *Folder) Get(name string) (ref btree.Ref, there bool, err error) {
	if f.tree != nil {
		ref, there, err = f.tree.Get(name)
		return ref, there, f.foreign(err)
	}
	i := f.index(name)
	if i < 0 {
		return ref, false, nil
	}
	if to, ok := f.items[i].Value.(pickle.Ref); ok && to.Class != (record.Class{}) {
		ref = btree.Ref{Oid: to.Oid, Class: to.Class}
	}
	return ref, true, nil
}

func (f *Folder) index(name string) int {
	return slices.IndexFunc(f.items, func(item pickle.Item) bool {
		key, ok := pickle.Text(item.Key)
		return ok && key == name
	})
}

// Each calls f for every name until that returns an error, which is returned as it
// is. Values that are no references to objects of known class have a zero Ref, and so
// have keys that are no text, whose name is empty.
func (f *Folder) Each(each func(name string, ref btree.Ref) error) error {
	if f.tree != nil {
		return f.foreign(f.tree.Items(each))
	}
	for _, item := range f.items {
		var ref btree.Ref
		name, ok := pickle.Text(item.Key)
		if to, isRef := item.Value.(pickle.Ref); ok && isRef && to.Class != (record.Class{}) {
			ref = btree.Ref{Oid: to.Oid, Class: to.Class}
		}
		if err := each(name, ref); err != nil {
			return err
		}
	}
	return nil
}

// Set makes a name, which is text in UTF-8, refer to an object. All other names in
// the folder stay what they were.
func (f *Folder) Set(name string, ref btree.Ref) (err error) {
	if f.tree != nil {
		return f.foreign(f.tree.Set(name, ref))
	}
	if !f.plain {
		if f.data, err = spliceRoot(f.data, name, ref); err != nil {
			return f.errorf("cannot be written: %s", err)
		}
	}
	f.changed = true
	value := pickle.Ref{Oid: ref.Oid, Class: ref.Class}
	if i := f.index(name); i >= 0 {
		f.items[i].Value = value
	} else {
		f.items = append(f.items, pickle.Item{Key: name, Value: value})
	}
	return nil
}

// Delete removes a name, and reports whether it was there.
func (f *Folder) Delete(name string) (there bool, err error) {
	if f.tree != nil {
		there, err = f.tree.Delete(name)
		return there, f.foreign(err)
	}
	i := f.index(name)
	if i < 0 {
		return false, nil
	}
	f.items = slices.Delete(f.items, i, i+1)
	f.changed = true
	if f.plain {
		return true, nil
	}
	f.data, err = encodeMapping(f.data, f.items)
	if err != nil {
		return true, f.errorf("cannot be written without %q: %s", name, err)
	}
	return true, nil
}

// Flush stores the folder in the transaction.
func (f *Folder) Flush() {
	if f.plain && f.tree == nil && len(f.items) > maxItems && ofArrays(f.items) {
		f.toTree()
	}
	if f.tree != nil {
		f.tree.Flush()
	}
	switch {
	case !f.changed:
	case !f.plain:
		f.txn.Store(f.oid, f.data)
	default:
		f.txn.Store(f.oid, f.encode())
	}
	f.changed = false
}

// toTree moves the items into a tree.
func (f *Folder) toTree() {
	tree := btree.NewNames(f.txn)
	for _, item := range f.items {
		ref := item.Value.(pickle.Ref)
		if tree.Set(item.Key.(string), btree.Ref{Oid: ref.Oid, Class: ref.Class}) != nil {
			panic("BUG: zwrite: a plain item does not fit into a tree")
		}
	}
	f.tree, f.items = tree, nil
}

// encode returns the record of a plain folder.
func (f *Folder) encode() []byte {
	var e record.Encoder
	e.Reset(classMapping)
	e.BeginDict(1)
	e.Text(rootKey)
	if f.tree != nil {
		ref := f.tree.Ref()
		e.Ref(ref.Oid, ref.Class)
	} else {
		e.BeginDict(len(f.items))
		for _, item := range f.items {
			e.Text(item.Key.(string))
			ref := item.Value.(pickle.Ref)
			e.Ref(ref.Oid, ref.Class)
		}
		e.EndDict(len(f.items))
	}
	e.EndDict(1)
	return e.Record()
}
