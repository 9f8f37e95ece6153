// Package storage is the contract between the server and a ZODB database.
//
// # Nouns
//
// A Storage is one opened database. It is read through Load, which answers
// "what did object oid look like at view at", and through a stream of Events,
// which tells every transaction committed after the view at0 that Open
// returned. LoadMany is for many objects at once, which some storages load with one
// question. Head is the newest view that Load can serve and whose event was
// put into the stream. Tid, Oid and Xid are those of NEO/go's package zodb.
//
// A URL names a database; Drivers opens it by its scheme. Drivers build their streams with
// EventQueue.
//
// # Immutability
//
// For at <= Head the answer of Load never changes, except that a pack may
// remove it. A view above Head is refused with a *FutureViewError: what it
// shows is not decided yet, and waiting for it could hang forever.
//
// # Ownership and locking
//
// Everything here may be called from any number of goroutines. A Buf returned
// by Load belongs to the caller, who may Release it to have its memory re-used;
// not releasing it only costs garbage. No method calls back into its caller
// and none blocks on the consumer of events: the event queue is unbounded.
//
// # Caveats
//
// Records are returned as stored. Package record says what is in them, package btree reads
// those of block tables, and package bigfile those of files and blocks.
package storage
