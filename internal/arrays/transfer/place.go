package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// tree is the folders of a database, as one transaction sees and changes them.
type tree struct {
	ctx  context.Context
	txn  *zwrite.Txn
	open map[zodb.Oid]*zwrite.Folder // each once, since it is changed in memory
}

func newTree(ctx context.Context, txn *zwrite.Txn) *tree {
	return &tree{ctx, txn, make(map[zodb.Oid]*zwrite.Folder)}
}

// folder returns the folder of that oid.
func (t *tree) folder(oid zodb.Oid) (f *zwrite.Folder, err error) {
	if f, ok := t.open[oid]; ok {
		return f, nil
	}
	if oid == zwrite.RootOid {
		f, err = zwrite.OpenRoot(t.txn)
	} else {
		f, err = zwrite.OpenFolder(t.txn, oid)
	}
	if err == nil {
		t.open[oid] = f
	}
	return f, err
}

// place is a name in a folder, and what it refers to.
type place struct {
	folder *zwrite.Folder
	key    string
	ref    btree.Ref  // zero if that is no object of known class
	above  []zodb.Oid // the folders on the way, from the root object on
}

// set makes the name refer to an object.
func (p *place) set(ref btree.Ref) error {
	if err := p.folder.Set(p.key, ref); err != nil {
		return err
	}
	p.folder.Flush()
	return nil
}

// unset removes the name.
func (p *place) unset() error {
	if _, err := p.folder.Delete(p.key); err != nil {
		return err
	}
	p.folder.Flush()
	return nil
}

// search is the search for a path. A path may be cut into keys in several ways, of
// which the one with the longest first key counts, as for catalog.Find.
type search struct {
	*tree
	tried   map[string]bool // oid and rest
	foreign string          // the first thing on the way that is no folder
}

// find returns the place of a path, nil if there is none.
func (s *search) find(above []zodb.Oid, oid zodb.Oid, rest string) (*place, error) {
	state := oid.String() + rest
	if s.tried[state] {
		return nil, nil
	}
	s.tried[state] = true
	f, err := s.folder(oid)
	if err != nil {
		return nil, err
	}
	above = append(above[:len(above):len(above)], oid)
	ref, there, err := f.Get(rest)
	if err != nil || there {
		return &place{f, rest, ref, above}, err
	}
	for end := len(rest); ; {
		if end = strings.LastIndexByte(rest[:end], '/'); end < 0 {
			return nil, nil
		}
		ref, there, err := f.Get(rest[:end])
		switch {
		case err != nil:
			return nil, err
		case there && zwrite.IsFolder(ref.Class):
			if p, err := s.find(above, ref.Oid, rest[end+1:]); p != nil || err != nil {
				return p, err
			}
		case there && s.foreign == "":
			s.foreign = describeRef(ref)
		}
	}
}

// locate returns the place of a path. If there is none the error says whether
// something else leads there, or which names are near.
func (t *tree) locate(name string) (*place, error) {
	s := search{tree: t, tried: make(map[string]bool)}
	p, err := s.find(nil, zwrite.RootOid, name)
	if p != nil || err != nil {
		return p, err
	}
	_, err = catalog.Find(t.ctx, bigfile.TxnLoader{Txn: t.txn}, zodb.TidMax, name)
	var other *catalog.WrongKindError
	switch {
	case err != nil && !errors.As(err, &other):
		return nil, err
	case s.foreign != "":
		return nil, left(name, "in "+s.foreign+", which is neither a mapping nor an OOBTree")
	}
	return nil, fmt.Errorf("%s is an oid; give a name, which wcfs ls tells", name)
}

// newPlace returns where something that is new gets a name. If that is taken it fails
// with kind fault.Exists, unless it is to be replaced and is an array or a file, or with
// folders a folder of such.
func newPlace(ctx context.Context, txn *zwrite.Txn, name string, replace, folders bool) (*place, error) {
	t := newTree(ctx, txn)
	s := search{tree: t, tried: make(map[string]bool)}
	p, err := s.find(nil, zwrite.RootOid, name)
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		if err := CheckName(name); err != nil {
			return nil, err
		}
		root, err := t.folder(zwrite.RootOid)
		return &place{folder: root, key: name}, err
	case !replace:
		return nil, exists(name)
	case zwrite.IsFolder(p.ref.Class) && !folders:
		return nil, left(name, "a folder and no array")
	}
	return p, t.checkRemovable(name, p.ref, true)
}

// checkRemovable returns why what a name refers to cannot lose it: only what can be
// made here, too, is given up, which is arrays, files, and folders of those.
func (t *tree) checkRemovable(name string, ref btree.Ref, recursive bool) error {
	seen := make(map[zodb.Oid]bool)
	var check func(name string, ref btree.Ref) error
	check = func(name string, ref btree.Ref) error {
		switch {
		case ref.Class == record.ZBigArray, ref.Class == record.ZBigFile, seen[ref.Oid]:
			return nil
		case !zwrite.IsFolder(ref.Class):
			if _, err := catalog.Find(t.ctx, bigfile.TxnLoader{Txn: t.txn}, zodb.TidMax, ref.Oid.String()); ref == (btree.Ref{}) || err != nil {
				return left(name, describeRef(ref))
			}
			return nil
		}
		seen[ref.Oid] = true
		f, err := t.folder(ref.Oid)
		if err != nil {
			return err
		}
		n := 0
		err = f.Each(func(key string, ref btree.Ref) error {
			n++
			if !recursive {
				return nil
			}
			return check(name+"/"+key, ref)
		})
		if err == nil && n > 0 && !recursive {
			return full(name, n)
		}
		return err
	}
	return check(name, ref)
}

func describeRef(ref btree.Ref) string {
	if ref == (btree.Ref{}) {
		return "a value that is no object of its own"
	}
	return "an object of class " + ref.Class.String()
}
