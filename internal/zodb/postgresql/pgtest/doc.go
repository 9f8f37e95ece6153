// Package pgtest is a temporary PostgreSQL cluster with databases of RelStorage, for tests.
//
// # Nouns
//
// A Ground belongs to a test binary: a directory below the one for temporary files, with
// everything that is made once. It is made when the first test needs it. A Cluster is a real
// PostgreSQL server at a socket there, and its data. All tests share one, and a test that does
// harm to its server has one of its own. A Database is one of a cluster, and has what
// RelStorage makes of it; it belongs to a test. Writers are real applications with RelStorage
// (package pythontest).
//
// Data directories and databases are copies of one that was made before, since both take
// long to make. Nothing is synced to disk; so a server that is killed loses nothing, and a
// host that crashes everything.
//
// # Users
//
// A PostgreSQL server does not run as root. So all of it runs as another user if the tests
// are root's. In the databases the owner is zodb, which applications are, and clients that
// only look are reader, who may do just that.
//
// # Ownership
//
// Ground.Around takes everything away when the tests have ended. A process, the janitor, does
// that when a pipe from the test binary is closed; so it is done too when the test binary is
// killed.
package pgtest
