// Package fs1 serves FileStorage databases (Data.fs): read-only, and while
// somebody else writes.
//
// # Nouns
//
// A dataFile is one open descriptor of the data file with its index (object ->
// position of its newest record). A scanner judges one transaction record at a
// time and is the only code that walks the file. The follower is the goroutine
// that looks at the file, in passes, and makes what was committed visible. The
// tail is what stands behind the last finished transaction: a transaction that
// was voted and not finished, one that is being written, or garbage.
//
// # What it is built on
//
// The format layer of NEO/go's package fs1: Index, LoadIndex, DataHeader.
// Its FileStorage object is not used, because some things cannot be guarded
// from outside of it: it allocates by lengths found in the file (100 GB of a
// damaged record end the process), gives up on stray bytes at the end although
// a writer cuts them off and goes on, and stays silent for ever when a pack
// replaces the file. Transaction headers are decoded here: the library refuses
// status "u" and reads the status together with the body.
//
// # Following
//
// A writer appends a transaction with status "c" (voted), then sets the status
// in place (finished) or truncates the file (aborted). So the status byte is
// read first, by a read of its own, and nothing that was read before it is
// used; of a voted transaction nothing is remembered. Passes are run on change
// notifications, each second, and on Sync.
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
// Where a pack went up to is told by the status of transactions: the last one with
// status "p". All that is reachable as of there, or later, is in the file.
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
// What the operating system refuses, say for want of descriptors, says nothing about a
// file. It is tried again at each look, and is warned about and told to who calls Sync.
//
// # Ownership and locking
//
// Each pass runs in the follower, so what concerns the tail has no lock.
// Storage.mu guards which files are served and the head; dataFile.mu guards an
// index, and waypoints.mu what loads remember. All are held for memory operations
// only. Close waits for the follower and for an index rebuild.
//
// # Caveats
//
// The format library links in glog, which adds flags to flag.CommandLine and
// runs a goroutine for ever; it is not used.
//
// The ordering that following relies on is that of local file systems. A file
// that is truncated and grown again in place between two looks is noticed only
// if the last transaction served is no longer there. A saved index is used only
// for big files, where it may, if it is wrong in the right way, give an older
// revision of an object.
package fs1
