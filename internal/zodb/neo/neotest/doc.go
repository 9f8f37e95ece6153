// Package neotest is a cluster of NEO in this process, for tests: masters and storages at
// real sockets, with one database. It says what a real cluster says, byte for byte where
// that is not a matter of ids and times, and can be told to misbehave.
//
// # Nouns
//
// A Cluster has nodes, a database and a table of partitions. A Node is a master or a
// storage. It listens at an address of its own, which it keeps while it is stopped. A conn
// is one connection of a client to a node.
//
// All storages share the one database. The cells of the table say what a storage answers
// for; so a replica is never behind, but for cells that are not readable. A storage may
// have records of its own that are damaged.
//
// A commit is locked at the storages, told to the clients, and unlocked, in this order and
// with pauses that a test may make. Until it is unlocked, storages hold back answers that
// would have to know of it. A request that is held back is tried again when something has
// changed.
//
// A complaint is a sign of a client that a real cluster would have suffered from.
//
// # Ownership and locking
//
// Cluster.mu guards all that is in the package; the fields of a conn that say what is to be
// written are guarded by conn.mu, which is a leaf. Each node has a goroutine that accepts
// connections, and each connection two, one of which reads and the other writes. Close
// ends and awaits all of them.
//
// A node answers a request under Cluster.mu and puts the answer into the queue of its
// connection. Answers of storages are encoded once, and big ones are written from where
// they are.
package neotest
