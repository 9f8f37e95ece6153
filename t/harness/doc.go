// Package harness starts servers, mounts, databases and clients for the packages beside it,
// which test wcfs from the outside: the real binary, real mounts, real databases, clients
// in processes of their own.
//
// # How a test is built
//
// Main builds the binary once for a package. Start runs a server in a child process and
// waits until its mount answers. The test reads through the mount with plain system calls.
// Programs that map the mount into memory, or must be killed, run in a helper process: the
// test binary, started again with the name of a helper (Helpers). A Go program with a
// thread in a page fault cannot be stopped for garbage collection, so a test that mapped
// the mount could hang for good.
//
// A Scene is a served database with a file that somebody maps. A Watcher is a client that
// does what it should, a Faulty one that does not. Packages run one after the other, since
// some tests look at all servers of the host.
//
// # Databases that change
//
// A Live is a database that the test writes while it is served, with a model of
// every object at every transaction: what any view must show is computed, not
// written down. The flag -on says in what kind of database; those that wcfs does not
// write to mirror a file. A test waits for a commit at .wcfs/debug/zhead, or by asking
// head/at; nothing sleeps for some time and hopes. A helper (Map) tells what is
// in the page cache, and keeps what it has read from being dropped by anybody
// but the server.
//
// # What is always checked
//
// Every server has a hard time limit. When it is over the FUSE connection is
// aborted, which frees all who wait for it, and the test fails with the log of
// the server. Afterwards no mount, no process and no directory may be left.
package harness
