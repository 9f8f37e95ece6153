// Package heatmap draws where an array changes: a picture of blocks and time.
//
// # Nouns
//
// A Map is bins: a row of them for so many blocks, a column for so much time. Each counts
// how many times a block of the row changed in that time. The picture has a cell for each
// bin.
//
// # Bounds
//
// Neither how many blocks there are nor how long the history is is known before it is read.
// So bins begin small, of one block and a microsecond, and are made twice as large when
// there are too many of them. A Map has the same size in memory for every array and history.
//
// # Ownership
//
// A Map belongs to who has made it. Nothing here starts goroutines.
//
// # Caveats
//
// Bins of blocks that only grow twice as large do not end where the array does: up to half of
// the rows and columns there could be are not used, and not drawn.
package heatmap
