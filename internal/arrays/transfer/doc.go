// Package transfer moves arrays into a database and out of it.
//
// # Nouns
//
// A Source is an array that comes from outside: an .npy file or plain data, of
// which a Layout says what the bytes mean. Import makes an array of it, Append
// adds it to one along the major axis: the axis along which an array grows at its
// end, the first one in C order, the last one in Fortran order. Export and Copy
// write an array, or a range of a file, as of a view.
//
// # All or nothing
//
// Import and Append write one transaction, however big, which package zwrite
// writes behind the end of the data file, or sends to a server. The input is
// checked as early as possible: the size of a plain file before anything is
// written, that of a pipe when it ends, before the transaction is committed. The
// transaction begins before the array is looked up, so that nobody can change it
// in between; behind a server somebody can, and then it fails with an error of
// kind fault.Changed.
//
// # Cost
//
// Memory is bounded by a few blocks and by what zwrite buffers. An append reads
// and writes the blocks at the end of the array, and of the rest only the nodes of
// the block table that lead there.
//
// # Ownership and locking
//
// A Source belongs to one goroutine; its opener closes it. Copy loads blocks
// ahead in goroutines, and waits for all of them. Nothing here has locks.
//
// # Caveats
//
// New arrays are named in the root object only. A pickled dtype is written anew by
// an append: its metadata, if numpy was given any, is lost. An array with
// attributes that no ZBigArray has of itself is refused.
package transfer
