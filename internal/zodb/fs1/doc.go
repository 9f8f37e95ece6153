// Package fs1 serves FileStorage databases (Data.fs): read-only, and while
// somebody else writes.
//
// # Nouns
//
// A dataFile is one open descriptor of the data file with its index (object ->
// position of its newest record). A survey is what can be told about a damaged
// transaction. The follower is the goroutine that looks at the file, in passes, and makes
// what was committed visible. The tail is what stands behind the last finished
// transaction: a transaction that was voted and not finished, one that is being written,
// or garbage. Headers, records, indices and the scanner are those of package fsformat.
//
// # What it is built on
//
// Package fsformat has all bytes, and says what it takes from NEO/go. The FileStorage
// object of NEO/go is not used, because some things cannot be guarded from outside of it:
// it allocates by lengths found in the file (100 GB of a damaged record end the process),
// gives up on stray bytes at the end although a writer cuts them off and goes on, and
// stays silent for ever when a pack replaces the file.
//
// # Following
//
// The scanner tells a finished transaction from one that was only voted, however a writer
// goes on meanwhile. Of a voted transaction nothing is remembered. Passes are run on change
// notifications, each second, and on Sync.
//
// # Damage
//
// FileStorage has no checksums, but it says most things twice, and a field that is
// there once is found out from others. So one wrong bit in a header costs an object,
// and not the database:
//
//   - The length of a transaction stands in front and behind. A transaction ends where
//     its records end and that position less its own stands as a number.
//   - Its tid and its position are in each record, and records that have both are found
//     whatever is in front of them: so the lengths of strings and data are not needed to
//     go on. Two of three tids that agree are right.
//   - Data is two pickles, or compressed, and says by itself where it ends (extent.go).
//     That tells a record whose length is wrong from one behind which another is lost.
//   - A status that is none is that of a finished transaction if all else is right. ZODB
//     takes it for that, too.
//   - Each record names the one before it of its object, which is what the index had
//     then. If it does not, either the object or the pointer is wrong: the object that is
//     named and the one whose record is named are in doubt, until a later record of
//     theirs names the right one before it.
//
// A damaged record is a CorruptError for a reader that needs it, or the way through
// it. Older revisions are never served in its place. A load sees damage that a scan
// does not see: each record on its way is compared with the transaction around it.
//
// If a record is lost and nobody can tell of which object it was (more than a bit is
// wrong), then any object may have been changed there. A saved index knows: if it
// agrees with all that is sure, the lost record belongs to who has none otherwise.
// Without one, objects that are not seen to have changed later are not served in views
// from there on, nor are they said not to exist; older views are whole, and so is what
// has changed since. A file is refused if it is not known where to go on, or if tids do
// not ascend.
//
// Some damage cannot be found out: wrong bits in data; the number of a new object, which
// is another one then, that nobody refers to, or, without a saved index that is asked,
// one that is new in the same transaction, where objects may come more than once; in a
// file that was not scanned, a pointer that leads to another record of the same object;
// and so does a back pointer.
//
// # Pack
//
// A pack renames a new file into place. The follower sees another inode under
// the path, reads the old descriptor to its end, indexes the new file, proves
// that it continues the same history, and goes on there. The old descriptor
// stays open and answers loads at views before the switch, so that those who
// hold such views notice nothing. Its disk space is in use until then: one old
// generation is kept, and up to maxPast more for views that are in use, as Keep
// tells. Views before that are incomplete and say so by a PackedError. Two packs
// between two looks may lose transactions that nobody was told of: that ends the
// event stream.
//
// The status of transactions tells how far a pack went: up to the last one with
// status "p". Every record that is reachable as of there, or later, is in the
// file.
//
// # Other files in the place
//
// A copy of the same history, with the same or more transactions, is gone on with
// like a packed file, however its bytes are arranged. The last transaction served
// must be in it, with the same strings and data; a packed file may lack it only if
// nothing of it was reachable. Everything else ends the stream with an error that
// says what is true: HistoryLostError, WentBackError, AnotherDatabaseError. So does a
// file whose last transaction is not where it was, because it was written over in
// place: nothing is read from that any more, and of one that was truncated only what
// is left.
//
// A refusal of the operating system, say for want of descriptors, says nothing about a
// file. The call is tried again at each look, a warning says so, and callers of Sync
// are told.
//
// # Ownership and locking
//
// Each pass runs in the follower, so the state of the tail has no lock.
// Storage.mu guards which files are served and the head; dataFile.mu guards an
// index, and waypoints.mu what loads remember. All are held for memory operations
// only. Close waits for the follower and for an index rebuild.
//
// # Caveats
//
// NEO/go links in glog, which adds flags to flag.CommandLine and
// runs a goroutine for ever; it is not used.
//
// The ordering that following relies on is that of local file systems. A file
// that is truncated and grown again in place between two looks is noticed only
// if the last transaction served is no longer there. A saved index is used only
// for big files, where it may, if it is wrong in the right way, give an older
// revision of an object.
package fs1
