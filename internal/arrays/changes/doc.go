// Package changes tells which transactions changed a file, and which blocks.
//
// # Nouns
//
// A Change is what one transaction, or all of them between two views, did to a
// file: Log gives one for each transaction, Diff one for two views. It has the
// numbers of the blocks whose content may be another one, as Ranges, the size
// before and after, and Events: created, deleted and so on.
//
// # What counts as changed
//
// A block changed if its number leads to another ZBlk object than before, or to
// the same one and that was stored. A ZBlk1 is stored whenever one of its chunks
// is. Content is never loaded or compared, so a block that was stored with
// the data it had counts. A table whose nodes were arranged anew with the same
// blocks in it did not change.
//
// # How it is found
//
// A table is the nodes of a tree with the interval of block numbers that each
// is routed, and the ZBlks they lead to, as of one view. The way to a block can
// only change if a node changes. So a transaction is compared with the table:
// the subtrees of nodes that it stored are walked in the view before and in the
// view after, and both walks stop at nodes that have kept their interval. The
// cost depends on the size of the change, and not on that of the file. Before
// the first transaction the whole table is walked once.
//
// Function btree.Differences, by which a commit finds what it changed of the served blocks,
// compares two versions of one node. All keys of a node that was split then count, and
// everything below it would be loaded. A walk here knows whole tables, and so sees which
// nodes have only moved to another parent.
//
// # Damage
//
// A node that cannot be read does not end anything. The blocks that it would
// lead to are unknown: blocks known in one of two views only count as changed,
// others cannot. As long as a view before or after has such a node, the Change
// has Damage. A database that was packed looks the same: at views before the
// pack the table has nodes that do not exist. Its history begins, node by node,
// with the transactions that are left. A table with nodes that are linked more
// than once is walked as a whole at each transaction that changes one of its
// nodes.
//
// # Ownership and locking
//
// A Change belongs to the caller. Nothing here has state between calls, or
// starts goroutines.
//
// # Caveats
//
// A call needs at most 60 bytes of memory for each block that is no hole, and 170
// for each node of the table. Blocks that do not fit into a file of 2^63 bytes
// are left out.
package changes
