// Package postgresql reads databases that RelStorage keeps in PostgreSQL: connections to one
// server are one session.
//
// # Nouns
//
// A Config says which database on which servers is meant; Parse makes one of a url. Dial
// connects to the first server that will do, and gives a remote.Session: loads, past
// transactions, and what is committed. The common part of all servers is in package
// remote: connecting again, waiting, order. The protocol, TLS and what libpq reads from
// the environment are those of package pgconn.
//
// A candidate is one server of the url. A session has a connection of its own for the
// follower, and a pool for all else. An instance is a server from its start to its end.
//
// # Reading
//
// RelStorage that preserves history writes each revision of an object once, in the table
// object_state; the serial is its tid. A load takes the newest one up to the view, in a
// statement of its own: what is visible of views up to head does not change. Several
// objects are loaded by one statement. Databases that are history-free are refused: they
// overwrite revisions in place, so a view would show what came later.
//
// # Commits
//
// RelStorage tells nobody of commits. The follower has a statement run in the server that
// looks for a newer transaction every Config.Poll, and ends when there is one, or after a
// second; with it go, in one round trip, the question for what is new, and another one. So
// an idle database costs three statements a second, and a commit is known one poll and one
// round trip later at most.
//
// No transaction is left out, or told early. RelStorage chooses a tid under a lock that
// PostgreSQL gives back only after the commit is visible, and the tid is greater than all
// before it: so transactions become visible in the order of their tids, on a standby too,
// which does what the log of the primary says. The question for what is new sees one
// snapshot, with whole transactions: what it sees of a transaction is all of it, and all
// with smaller tids are there. A statement on another connection that begins later has a
// newer snapshot, so a load as of a transaction works as soon as it is told. A writer
// without that lock, like a tool that copies, may break the order. The follower also counts
// the transactions of the last seconds: if there are more than were told, one came late,
// and the storage ends (HistoryLostError).
//
// All connections of a session are to one instance, since another one may be behind: the
// pool connects to the address where the follower is, and compares the time at which the
// server began. A standby that is behind what was told is not connected to before it has
// caught up.
//
// # Limits
//
// The pool has MaxConns connections at most, made when they are needed. If the server has
// no room for more, loads wait for those that there are. A query that the server has
// cancelled is repeated some times. A load that is given up is cancelled in the server, and
// its connection is closed.
//
// # Ownership and locking
//
// The session owns the follower, one goroutine, the pool and all sockets. When the
// session ends it closes the sockets, which ends all that waits for the server; Close
// waits for the follower and for the pool. sockets.mu and dialer.mu are leaves.
//
// # Caveats
//
// A pack removes revisions, and then old views have objects less: they look as if they had
// not been created yet. A deletion is a revision without data.
package postgresql
