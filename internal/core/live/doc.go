// Package live serves files as they are at the newest view, and follows every
// commit. It is a pure engine: the page cache of the kernel, loads and time
// stand behind small interfaces, and all of it runs in tests without a mount.
//
// # Nouns
//
// Head is the newest view. A File is one ZBigFile in it. A READ is registered
// with its file from its arrival until its reply is written; it is parked until
// it is replying. A commit announces the new size of files that become longer, switches
// the view of every file, drops what changed from the page cache, and then publishes its
// tid: from then on At tells it.
//
// # The promise
//
// Once At tells T, no page of any file holds content older than T, and
// attributes are those of T. A READ waits for a commit only while that waits for
// clients to pin the blocks of the READ (early.go), or announces the new size of its
// file (resize.go). A READ of what a pack has removed from the newest view, since commits
// are taken in too slowly, waits for the next view (read.go). A commit waits for no READ
// except one whose reply is being written, and those of the page that an array ends in when
// its size moves (resize.go).
//
// Package core has the life of a READ (r1 to r6), that of a commit (c1 to c8), the files in
// which each step is, and the order of locks.
package live
