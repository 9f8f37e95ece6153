// Package fsformat is the bytes of a FileStorage, once: all who read or write a Data.fs
// or its .index do it by this package.
//
// # Nouns
//
// The file begins with a magic of 4 bytes. Behind it there is one transaction after the
// other: a header, three strings, data records, and the trailer, which says the length
// once more. A Txn is the header of a transaction, a Record that of a data record, each
// with its place. A record without data has a back pointer to the record that has it, or
// to none if the object was deleted. All numbers are big-endian. The layout is that of
// ZODB/FileStorage/format.py.
//
// A Scanner judges one transaction after the other. A Cursor goes from a record along the
// chains that lead back. An Index says where the newest record of each object is; a saved
// one is the .index beside the file. A DamageError says what cannot be right, and where.
//
// # A writer at work
//
// A writer appends a transaction with status "c" (voted), then sets the status in place
// (finished), or truncates the file (aborted). So the Scanner reads the status byte
// first, by a read of its own, and uses nothing that was read before it. Behind the last
// finished transaction there may be a Tail.
//
// # What it is built on
//
// The index in memory is the B-tree of NEO/go's package fs1, which also reads saved ones:
// that is a library of its own, specialised for positions by oid, and reads the file in
// pieces. Its headers are not used. They come with their checks only, so that a header
// that is damaged cannot be looked at; status "u" is refused; and allocations follow
// lengths that nobody has checked. Its writer of saved indices is not used either, since
// Python 2 needs another form. So only this package knows the bytes, but for NEO/go's
// reader of an index, and only this package imports that. Tests of the writer do, too,
// for a second opinion.
//
// # Ownership and locking
//
// Nothing here has a lock or a goroutine. A Scanner and a Cursor own the buffers that
// they read into, and are for one goroutine. The result of Records is valid until the
// next call. Headers are values.
package fsformat
