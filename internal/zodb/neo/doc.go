// Package neo reads databases in NEO clusters: a connection to the primary master, with
// those to storages, is one session.
//
// # Nouns
//
// A Config says which cluster to talk to; Parse makes one of a url. Dial finds the primary
// master, and gives a remote.Session: loads, past transactions, and what is committed. The
// common part of all servers is in package remote: connecting again, waiting, order. The
// language of nodes is in package neoproto.
//
// A peer is a connection to a node. A cluster is what the master tells: the nodes, and the
// table of who has which partition. An object is in the partition oid modulo their number,
// and the metadata of a transaction in tid modulo that. A cell is the copy of a partition
// on a node; it can be read if it is up to date, or feeds another one, on a node that runs.
//
// # Reading
//
// Each question goes to a node that has the partition, and at once to another one if
// that does not answer as it should: it cannot be reached, does not have the partition any
// more, or its record is damaged. When all have been asked in vain it is waited for
// news of the cluster, or for a moment, and begun anew, as long as the caller waits. A
// damage that all nodes have is an answer. Nodes that failed lately are asked last.
//
// Storages hold back what they are asked of objects that are being committed. So a load as
// of a transaction works as soon as the master has told of it, and may take a while.
//
// # Commits
//
// The master tells of commits in order, and before it calls one the last transaction. So
// its answer to AskLast is a barrier; and if it has a newer transaction than was told, the
// cluster is one that tells nothing, as the backup of another one, and it is asked
// again now and then. The objects of a commit are asked for at a storage, since
// those that it deletes are left out of what the master tells.
//
// # Ownership and locking
//
// A session has the goroutines of its peers, one for each connection to a storage, from
// the attempt to connect to its end, and one that polls the master. Close waits for all.
// Transactions has some that ask, and waits for them. cluster.mu and dialer.mu are leaves;
// nothing is waited for under them.
//
// # Caveats
//
// A transaction also names the objects that it has only relied on. They count as
// changed. An object that was not created yet looks like one that was packed away.
package neo
