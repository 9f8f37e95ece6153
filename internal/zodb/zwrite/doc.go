// Package zwrite writes databases: FileStorage (Data.fs), and those behind a server.
//
// # Nouns
//
// A DB is a data file opened for writing, a Client a database behind a server; each is
// a Store. A Txn is one transaction on it: it collects new records of objects in memory,
// or, when that is too much, behind the end of the file or at the server, and either
// all of them become visible by Commit, or none. The engine is the part of a Txn that
// differs between both. Names are the keys by which the root object refers to objects of
// applications. The index says where the newest record of each object is. A File is a
// file of the operating system; tests put a layer of their own around it.
//
// # How a transaction gets into the file
//
// The file format and the steps of a writer are those of ZODB's FileStorage,
// with an order that survives a loss of power (package fsformat has the bytes):
//
//  1. header with status "c" (voted), data records and trailing length are
//     written behind the last transaction,
//  2. fsync,
//  3. the status byte is set to " " (finished): from now on readers see it,
//  4. fsync.
//
// If a writer is stopped between the steps, the file ends with a whole
// transaction and maybe a tail that readers ignore and the next writer cuts off.
// If a step before 3 fails, the file is truncated to what it was.
//
// # How a transaction gets to a server
//
// All that is loaded is as of the head at the beginning, and must be the newest revision
// still when the server votes. Records are sent when Settle says that nothing will ask
// for them, or at Commit. The server keeps them to itself until Finish, so a failure
// before leaves nothing. If the session ends while it finishes, nobody knows: then a new
// session finds out (outcome.go), or there is an *UncertainError without a tid.
//
// # Python 2
//
// The application is on Python 2 if the magic says so, or if the server runs on
// it. Then records of an Encoder are pickled anew when they are stored, with the
// protocol of what is there, and the index is pickled with protocol 1.
//
// # Opening
//
// A tail that is not a finished transaction, by a writer that did not get to
// its end, is saved beside the database as NAME.tr0, NAME.tr1 and so on, and
// cut off; one that can be written again (Options.Disposable) is not saved. Damage in
// front of transactions that look right is refused: nothing is repaired here.
//
// # Ownership and locking
//
// One process writes: a DB holds flock on NAME.lock, as ZODB does, from Open to
// Close. Applications may have the database by another name. So the lock of each
// symbolic link on the way is taken, too, and the data file itself is locked, for other
// DBs; a process that has it open for writing by a name that is not known is looked for
// once, by Open. Names that nobody can find, as hard links, are refused (*UnsafeError).
//
// Files beside the data file get its owner, group and mode. Files of an Open that
// failed are taken away by Abandon.
//
// Within the process there is one transaction at a time: Begin waits for
// the previous one to end. A Txn may be used by several goroutines, which makes
// sense for Load. Everything else of a DB may be called from any goroutine.
// So it is with a Client, whose connection belongs to who has the turn; the
// context of Begin is for all of the transaction. DB.mu guards the index and its end,
// the last tid and the highest oid; it is held for memory operations only, and taken
// after Txn.mu where both are.
//
// # Caveats
//
// A writer that ignores the lock destroys the database; as far as it can be
// noticed, it gives ErrForeign. Back pointers, as undo makes them, are read but
// never written. Blobs and packing are not supported. Records of wrapped
// storages (zc.zlibstorage) are unwrapped when loaded and stored plain.
package zwrite
