// Package tail knows which objects changed when, and caches the nodes that all
// views share.
//
// # Nouns
//
// The object tail lists the transactions of (tail, head] with the objects that
// each of them changed. A view at <= head is immutable, so a decoded object is
// cached once with the interval of views [from, until] that it answers; an
// unchanged BTree node serves every view from one copy. Objects is the object
// tail and this node cache in one, because the until of what is loaded has to
// be decided together with the append of a transaction.
//
// Only BTree nodes and ZBigFile objects are cached. Data of blocks never is:
// the kernel has it.
//
// A History knows which blocks of which Files changed when. Served is a block
// that the kernel may have cached. Registered is a node that served blocks of a
// file, or its size, depend on, with the keys by which it was reached. The
// revision of a block is the transaction since which it shows what it does.
//
// # How changes are found
//
// What a block shows can only change together with a node of its path, or with
// its ZBlk. So a Commit compares the old and the new state of the registered
// nodes that the transaction changed, looks the served blocks up again that
// they route differently, and registers the new paths. Nothing else is looked
// at, and nothing is kept of blocks that are not served.
//
// A node stays registered when the last block that needed it is dropped or has
// moved: that costs memory, and some comparing, but no wrong answer. Sweep
// finds out what is still needed.
//
// A revision is found by walking back from a view, at most to the floor: the
// newest transaction at which a node of the path began to route the block
// differently is where to look up the block anew. These transactions are found
// by comparing versions of a node, and remembered for all blocks that share it.
//
// # Views below the tail
//
// What happened before the tail is not known, so a revision loaded for such a
// view answers up to that view only. It is never taken for what the object was
// at the tail.
//
// # Packs
//
// A pack removes what nobody sees from there on. So a revision of before a pack may
// lead to a view that cannot be opened any more, though the block still shows the same.
// The storage tells from where on views are complete. That is a floor for all views
// after it. A block as of a view before it has no other revision than this view, if all
// that it needs there is left, and else a storage.PackedError. A node that is missing at
// such a view is not taken for an empty one.
//
// # Ownership and locking
//
// Objects, History and each File have a lock of their own, held for map
// operations only: never during a load. They are taken in the order File,
// History, Objects. Loads run in goroutines that Objects owns; Close waits for
// them. Cached objects are immutable and stay usable after they left the cache.
package versions

import (
	"errors"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Objects serves block tables and files to the packages that walk them.
var _ bigfile.Source = (*Objects)(nil)

// IsDamage reports whether err concerns one file only: what it refers to cannot
// be right, or was packed away. Anything else concerns the database.
func IsDamage(err error) bool {
	var corrupt *storage.CorruptError
	return errors.As(err, &corrupt) || errors.Is(err, bigfile.ErrTooBig) || asPacked(err) != nil
}

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
