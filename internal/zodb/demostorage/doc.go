// Package demostorage is a database over another one, as ZODB's DemoStorage shows it:
// new revisions are in the delta (Python says changes), and an object that is not there
// is as it is in the base.
//
// # Base
//
// The base does not change. It is frozen at the head that it has when it is opened. Later
// commits to it are not seen, and a warning says so once. The delta goes on: its commits
// are the events, and head is the newest of both.
//
// All transactions of the delta must be newer than the frozen head. Else the delta was
// made over another base, or over an older state of this one, which has gone on since:
// Open refuses it, and the storage goes down if such a transaction comes later. So views
// up to the frozen head are those of the base, and the delta is not asked for them.
//
// The storage also goes down when the base does, and when packs of a base that has gone on
// have taken away records that the frozen view needs.
//
// # Deleted objects
//
// In Python a FileStorage does not know an object that it has deleted, and so DemoStorage
// shows the object of the base again. The object of the base is right for an undo of the
// first change in the delta, which is stored just like a deletion, and it is what
// applications see. So it is done here, too. The serial is the tid of the deletion, though,
// and not that of the revision in the base: since then the object is what it is. And views
// never change: ZODB 6 denies, once an object was deleted in the delta, that it was in the
// base before.
//
// Some drivers, as that of ZEO, cannot tell an object that was deleted from one that has
// never been there, at the cost of a second question about each object of the base. To
// find the tid of a deletion they are asked once for all of their transactions.
//
// # Ownership and locking
//
// One goroutine watches the base; Close waits for it. Events of the delta are not stored
// here: NextEvent asks the delta.
//
// # Caveats
//
// Where a pack of the delta has removed the record that says that an object was deleted,
// the time of the pack stands for the time of the deletion, or nothing if it was packed
// before it was opened. Views before a pack are incomplete anyway.
package demostorage
