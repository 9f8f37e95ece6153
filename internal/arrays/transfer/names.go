package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/arrays/catalog"
	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

// Remove takes a name away from an array, a file, or a folder, in one transaction with
// that description. The objects stay in the database until it is packed, and so does
// what it was at earlier views. A folder must be empty unless it is recursive.
//
// Errors: *catalog.NotFoundError, *fault.Error and *zwrite.FolderError for
// what is not given up, of kind fault.Changed, the error of ctx, those of zwrite.
func Remove(ctx context.Context, db zwrite.Store, name string, recursive bool, message string) (_ zodb.Tid, err error) {
	defer failed(&err, "rm", name)
	if message == "" {
		message = removeMessage + name
	}
	return change(ctx, db, message, func(t *tree) error {
		p, err := t.locate(name)
		if err != nil {
			return err
		}
		if err := t.checkRemovable(name, p.ref, recursive); err != nil {
			return err
		}
		return p.unset()
	})
}

// Move gives what has one name another one, in one transaction with that description.
// Errors are those of Remove, of kind fault.Exists, and that of CheckName for the last part of
// the new name.
func Move(ctx context.Context, db zwrite.Store, from, to, message string) (_ zodb.Tid, err error) {
	defer failed(&err, "mv", from+" or "+to)
	if message == "" {
		message = moveMessage + from + " " + to
	}
	return change(ctx, db, message, func(t *tree) error { return t.move(from, to) })
}

// change makes one transaction of what do does.
func change(ctx context.Context, db zwrite.Store, message string, do func(*tree) error) (zodb.Tid, error) {
	txn, err := db.Begin(ctx, zwrite.Meta{Description: []byte(message)})
	if err != nil {
		return 0, err
	}
	defer txn.Abort()
	if err := do(newTree(ctx, txn)); err != nil {
		return 0, err
	}
	return txn.Commit()
}

func (t *tree) move(from, to string) error {
	old, err := t.locate(from)
	if err != nil {
		return err
	}
	if err := t.checkRemovable(from, old.ref, true); err != nil {
		return err
	}
	new, err := t.freePlace(to)
	if err != nil {
		return err
	}
	for _, oid := range new.above {
		if oid == old.ref.Oid {
			return fmt.Errorf("%s would be in itself", to)
		}
	}
	if err := old.unset(); err != nil {
		return err
	}
	return new.set(old.ref)
}

// freePlace returns the place of a path that is not there yet, but whose folder is.
func (t *tree) freePlace(name string) (*place, error) {
	s := search{tree: t, tried: make(map[string]bool)}
	p, err := s.find(nil, zwrite.RootOid, name)
	if err != nil {
		return nil, err
	}
	if p != nil {
		return nil, &fault.Error{Kind: fault.Exists, Msg: name + " exists already", Hint: "choose another name"}
	}
	parent, key := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		parent, key = name[:i], name[i+1:]
	}
	if err := CheckName(key); err != nil {
		return nil, err
	}
	if key == name {
		root, err := t.folder(zwrite.RootOid)
		return &place{folder: root, key: key, above: []zodb.Oid{zwrite.RootOid}}, err
	}
	p, err = t.locate(parent)
	var missing *catalog.NotFoundError
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("%w; the folder of a new name must be there", &catalog.NotFoundError{Name: parent, Near: missing.Near})
	}
	if err != nil {
		return nil, err
	}
	if !zwrite.IsFolder(p.ref.Class) {
		return nil, left(parent, describeRef(p.ref)+" and no folder")
	}
	f, err := t.folder(p.ref.Oid)
	return &place{folder: f, key: key, above: append(p.above, p.ref.Oid)}, err
}
