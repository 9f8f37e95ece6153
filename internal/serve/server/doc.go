// Package server runs one wcfs: it opens the database, mounts the tree on top
// of it, serves until told to stop, and takes it away again.
//
// # Who owns what
//
// Run owns everything: the storage, the node cache, the loads, the mount and
// the goroutine that serves it. They are made in that order and taken down in
// the reverse one; Run returns when all of them are gone. These exceptions are
// left to the end of the process:
//
//   - A mount that clients still use is detached.
//   - A mount that is also in other places is served there.
//   - A mount whose data cannot be followed any more (DownError) stays, so that clients get
//     ENOTCONN.
//   - A goroutine that does not end soon, although its context has and the connection to
//     the kernel was given up, is left alone (end.go).
//
// # Ready
//
// A server is ready when its mount answers a real request, and not when its own setup is
// done.
package server
