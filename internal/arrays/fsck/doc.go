// Package fsck tells all that is damaged in a database: it reads everything.
//
// # Nouns
//
// A Damage is one thing that is wrong, with where it is and what it means to readers.
// The file is checked first: every transaction and record, the links between them, and
// the saved index (fs1.Check). Then the arrays are: every block of every ZBigFile, found
// by its class, whether anything leads to it or not, is loaded as a server would load it.
// A damaged record of a block is told twice, therefore: as what is wrong with the file,
// and as the block that cannot be read.
//
// # Views
//
// Blocks are loaded as of the newest view. With AllViews they are also loaded as of each
// transaction that changed them, beginning with what the last pack has left: what is
// missing before that is no damage.
//
// # Bounds
//
// Memory is needed for the position of each object, for the name of each array, and for
// one record or block. AllViews needs what package changes does. Nothing is written, and
// others may go on to read and write.
package fsck
