// Package t tests wcfs from the outside: the real binary, real mounts, real
// databases, clients in processes of their own.
//
// # How a test is built
//
// Start runs a server in a child process and waits until its mount answers.
// The test reads through the mount with plain system calls. What maps the mount
// into memory, or must be killed, runs in a helper process: this test binary,
// started again with the name of a helper (helper_test.go). A Go program whose
// thread sits in a page fault cannot be stopped for garbage collection, so a
// test that mapped the mount could hang for good.
//
// # Databases that change
//
// A Live is a database that the test writes while it is served, with a model of
// every object at every transaction: what any view must show is computed, not
// written down. That a commit is there is waited for at .wcfs/debug/zhead, or by
// asking head/at; nothing sleeps for some time and hopes. What is in the page
// cache is asked from a helper (Map) that keeps what it has read from being
// dropped by anybody but the server.
//
// # What is always checked
//
// Every server has a hard time limit. When it is over the FUSE connection is
// aborted, which frees all who wait for it, and the test fails with the log of
// the server. Afterwards no mount, no process and no directory may be left.
package t
