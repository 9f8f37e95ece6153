// Package routes knows since when nodes of block tables route keys as they do.
//
// # Nouns
//
// A key is the number of a block. A node routes a key: an inner node to the child that it
// says for it, a leaf to the ZBlk, or to nothing. A version of a node is its record as of
// the transaction that wrote it. A node may have another version and route a key as before:
// then that transaction is no change for this key.
//
// # The cache
//
// Routes is a cache: what it does not know is found by comparing the versions of a node,
// newest first, and only as far back as somebody asks. Neighbouring blocks share their
// nodes, so what was found out for one block is there for all others: without it each of
// them would compare all versions of a leaf again.
//
// The memory of a Routes has a budget, counted in numbers of 8 bytes. Beyond it all that
// is known of some node is dropped, of whichever comes first, and is found again when it is
// asked for.
//
// # Ownership and locking
//
// A Routes has a lock of its own, held for map operations only: never while a node is
// loaded.
package routes
