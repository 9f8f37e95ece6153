// Package demo shows in some seconds what wcfs is for, on a database that it
// makes itself: the newest state moves with each commit, a snapshot stays as it
// is although it is plain mapped memory, only changed blocks leave the page
// cache, moving a snapshot forward is cheap, and the past is there as files.
//
// # Nouns
//
// The place is a private directory with the database and the mount point. The
// writer commits to the database, and the server is a child process that serves
// it. The viewer looks: at head/ as any program that reads a file does, and at
// its snapshot as a client of wcfs does. A look is what it saw after one commit.
// A state says what the array must show, so that every look is checked in full.
// The screen is what people see.
//
// # Ownership
//
// Run owns all of it and takes it away again: the viewer first, since a mount
// that is in use cannot go, then the server, then the place. It does so however
// it ends. If this process is killed the server notices that its last client is
// gone, unmounts and ends; the directory with the database is left.
//
// Writer and viewer work in turns in the goroutine of Run. Another one waits for
// the server, and a third one, when the context has ended, for the server to be
// stopped soon.
//
// # Caveats
//
// The server must be another process: one that maps files that it serves itself
// may hang, and cannot be killed then.
//
// A process that is killed before it has joined the server, some milliseconds
// after it started that, leaves the server too.
package demo
