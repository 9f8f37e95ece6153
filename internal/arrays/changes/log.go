package changes

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"lab.nexedi.com/kirr/go123/xerr"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Database is what histories are read from.
type Database interface {
	storage.Loader
	storage.Iterator
}

// Log calls f for every transaction in (lo, hi] that changed the ZBigFile file,
// or array, the ZBigArray that shows it, if that is not 0: in ascending order,
// up to the head of the database. An error of f ends it and is returned as it
// is. Other errors are those of storage.Loader and storage.Iterator about the
// database as a whole; what concerns single objects is told by Change.Damage.
func Log(ctx context.Context, db Database, array, file zodb.Oid, lo, hi zodb.Tid, f func(*Change) error) error {
	if lo >= hi {
		return nil
	}
	var s *state
	var failed error // by f
	err := db.Iterate(ctx, lo+1, hi, func(txn *storage.Txn) error {
		if s == nil { // now lo is known to be before the head
			s = newState(db, array, file)
			if err := s.load(ctx, lo); err != nil {
				return err
			}
		}
		c, err := s.advance(ctx, txn.Tid, txn.Oids)
		if err != nil || c.Empty() {
			return err
		}
		c.User, c.Description = string(txn.User), string(txn.Description)
		failed = f(c)
		return failed
	})
	if err != nil && failed == nil {
		return fmt.Errorf("history of %s: %w", file, err)
	}
	return err
}

// Diff returns what changed between two views, given in either order: Tid is
// the later one, and sizes are those before and after it in time. array is 0 if
// there is none. If nothing changed the Change has no events, no blocks and equal
// sizes. A view above the head gives *storage.FutureViewError; other errors are
// like those of Log.
//
// A block that got other content in between and its old one back counts as
// changed if a ZBlk object was stored for that.
func Diff(ctx context.Context, db Database, array, file zodb.Oid, a, b zodb.Tid) (_ *Change, err error) {
	defer xerr.Contextf(&err, "difference of %s @%s and @%s", file, a, b)
	lo, hi := min(a, b), max(a, b)
	s := newState(db, array, file)
	if err := s.load(ctx, lo); err != nil {
		return nil, err
	}
	if _, _, err := s.loadFile(ctx, hi); err != nil { // is there such a view?
		return nil, err
	}
	changed := make(map[zodb.Oid]struct{})
	if lo < hi {
		err := db.Iterate(ctx, lo+1, hi, func(txn *storage.Txn) error {
			for _, oid := range txn.Oids {
				if s.concerns(oid) {
					changed[oid] = struct{}{}
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return s.advance(ctx, hi, slices.Sorted(maps.Keys(changed)))
}
