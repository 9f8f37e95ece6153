// Package watch tests snapshots: setups, pins, moves and the ends of watches, read-ahead
// and changes of size beside them, the Go client, and clients that misbehave and are ended.
// With -on zeo the databases are behind a real ZEO server, with -on neo in a cluster, and
// with -on postgresql in PostgreSQL.
package watch
