// Package versions knows what objects were as of any view: which transactions changed
// them, the nodes of block tables that all views share, and the revisions of blocks.
//
// # Nouns
//
// History lists the transactions of (tail, head] with the objects that each of
// them changed; the tail is the view at which it begins. A view up to head is immutable, so
// a decoded object is cached once with the interval of views [from, until] that it answers;
// an unchanged node serves every view from one copy. Objects is history and this node cache
// in one, because the until of what is loaded has to be decided together with the append of
// a transaction.
//
// The cache holds BTree nodes and ZBigFile objects. It never holds data of blocks: the
// kernel has that.
//
// A Walk is the way from a ZBigFile to one of its blocks at one view. The revision of a
// block (Rev) is the transaction since which it has shown what it does; Revisions finds it.
//
// # How a revision is found
//
// A revision is found by walking back from a view, at most to the floor: the newest
// transaction at which a node of the path began to route the block differently is where
// the block has to be looked up anew. Package routes finds these transactions, and remembers
// them for all blocks that share a node.
//
// # Views below the tail
//
// Changes up to the tail are not known, so a revision loaded for such a view answers up
// to that view only. It is never taken for what the object was at the tail.
//
// # Packs
//
// A pack removes records that nobody sees from its time on. So a revision of before a pack
// may lead to a view that cannot be opened any more, though the block still shows the same.
// The storage tells from where on views are complete. This view is a floor for all views
// after it. The revision of a block as of an earlier view is that earlier view itself, if
// all is there that shows the block, and else a storage.PackedError. A node that is missing
// at such a view is not taken for an empty one.
//
// # Ownership and locking
//
// Objects has a lock of its own, held for map operations only: never during a load. Loads
// run in goroutines that Objects owns; Close waits for them. Cached objects are immutable
// and stay usable after they left the cache.
package versions

import (
	"errors"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Objects serves block tables and files to the packages that walk them.
var _ bigfile.Source = (*Objects)(nil)

// asNoData returns the zodb.NoDataError in err, or nil.
func asNoData(err error) *zodb.NoDataError {
	var noData *zodb.NoDataError
	if errors.As(err, &noData) {
		return noData
	}
	return nil
}

// damaged names the object and revision that could not be decoded. An object
// that is fine but of another class stays what it is.
func damaged(oid zodb.Oid, serial zodb.Tid, err error) error {
	var other *bigfile.NotBigFileError
	if errors.As(err, &other) {
		return err
	}
	return &storage.CorruptError{Oid: oid, Tid: serial, Err: err}
}
