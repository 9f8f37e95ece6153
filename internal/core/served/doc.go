// Package served knows what the page cache of the kernel may have: which blocks
// of which files, since when each of them has been what it is, and which objects
// of the database it depends on.
//
// # Nouns
//
// A File is one ZBigFile as of one view, with its served blocks. A block is served
// from the READ that brought it until it is dropped. The revision of a block is the
// transaction since which it has shown what it does; the File knows it, or an upper
// bound of it.
//
// A block is late if a READ brought it after a commit began and before the file was
// switched: the commit did not know it when it looked for what changed. With the switch
// the list of late blocks is handed to the commit, and each of them that is still served
// becomes unsure: it counts as changed until the commit has looked it up (Settle).
//
// The Index leads from the objects that a transaction has changed to what is served:
// from a node of a block table to the files that have it registered, with the keys by
// which their blocks were reached, and from a ZBlk to the blocks that show it. A file
// is known to the Index by its oid.
//
// # Ownership and locking
//
// Both are plain data: they have no lock, load nothing and wait for nothing. Their
// owner is core/live, which guards each File by a lock and the Index by another one
// that is taken after it. Every call is a map operation, or one of a balanced tree;
// what is linear in the number of blocks says so.
//
// # Caveats
//
// A node stays registered when the last block that needed it is dropped or has moved.
// Such a node costs memory and some comparing, but gives no wrong answer; a sweep
// finds out which nodes are still needed.
package served
