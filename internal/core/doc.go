// Package core is the map of this wing: how files of arrays are shown as of views,
// what a commit does to them, and how clients are isolated from it. The wing knows neither
// FUSE nor any driver of a database, and all of it runs in tests without a mount.
//
// # Rooms
//
//	form       how an array looks as a file of NumPy
//	lock       mutexes that are checked in tests
//	flight     one call per key, detached from its callers
//	routes     since when nodes of block tables route keys as they do
//	versions   objects as of any view, their history, and the revisions of blocks
//	served     what the page cache may have: plain data
//	live       files at the newest view: READs, commits, pins
//	past       files as of past views
//	wire       language of head/watch: lines, and what waits for a client
//	isolation  links of head/watch, their pins; ends bad clients
//
// The core tells the outside of it what happens by one interface, Observer, and asks about
// processes by another one, Processes.
//
// # Nouns
//
// An object is a record of the database; its serial is the transaction that wrote it. A
// view is the database as of a transaction. History is the memory of which objects the
// newest transactions have changed; it goes from the tail, a view, up to the head.
//
// A file is a ZBigFile with its block table, which is a tree of nodes, and its blocks. A
// block shows a ZBlk, or it is a hole. The path of a block is the ZBigFile and the nodes that
// lead to the block. The revision of a block is the transaction since which it has shown what
// it does.
//
// A block is served when the page cache of the kernel may have it. A node is registered
// when a served block, or the size of a file, depends on it.
//
// A READ is a request of the kernel for pages. Its reply goes when it is decided that
// nothing holds it back (r3 and r6 below), and is written when the kernel has it and unlocks
// the pages. A load is one block on its way into memory, or in memory as long as somebody
// needs it. A READ is parked from its arrival until its reply goes: it waits for a load, a
// client or a commit. The gate (r5 and r6 below) is where a READ waits for clients, and where
// its reply goes then. The rest of a block is what was loaded for a READ beyond what it asked
// for; it is stored into the page cache.
//
// A client is a process that maps files into its memory, and has opened head/watch: that open
// is its link. A watch says that a client wants to see a file as of a view. A pin is a message
// that tells the client to map one block from a view, usually that of its revision, or from
// head again. A client that does not acknowledge a pin is ended. A setup makes a watch, or
// moves it to another view.
//
// Old content of a block is preserved in memory when a commit changes the block. A file
// is fenced when its object has become another file.
//
// # The life of a READ
//
//	r1  register: the READ is known, and its blocks cannot be evicted
//	r2  load the blocks at the newest view, holding nothing
//	r3  in one critical section: nothing that was loaded may have changed since; note the
//	    blocks as served; list the watches that this concerns. If there are none, and no
//	    commit that pins early (c3) is about to change the blocks, the reply goes
//	r4  find out what these watches have to pin, and have it sent
//	r5  the gate: wait until no client sees the page that must not see it, and no commit
//	    that pins early is about to change the blocks
//	r6  still the gate, in the section that finds r5 true: once more, nothing may have
//	    changed; the reply goes. A READ that fails a check begins again at r2
//
// The code begins at Read in live/read.go; r1 is in live/registered.go, r2 and r3 are in
// live/attempt.go, r4 is in live/pinread.go, r5 and r6 are in live/gate.go.
//
// # The life of a commit
//
//	c1  from here on nothing is stored for READs; then find out what changed
//	c2  stores already under way would bring old data: wait for those of what changed
//	c3  preserve old content of what changed, while the page cache is all old; have
//	    clients pin early: what a file loses, and what changes and was read a moment ago
//	c4  have the kernel clear what is behind ends that move, and tell it of files that
//	    become longer; then switch the view of every file:
//	    READs load new data, also those that are parked with old data
//	c5  invalidate what changed, without what is locked by parked READs: they bring
//	    new data
//	c6  invalidate attributes; then settle late blocks, those that were served between c1
//	    and c4: they count as changed until it is known whether they are
//	c7  publish; skipped if the next transaction of an outage is there (Event.More), which
//	    publishes both
//	c8  forget history that nobody may ask for
//
// The code is in live/commit.go, from Commit on; c1 in live/diff.go, c3 in
// live/preserve.go and live/early.go, the sizes of c4 in live/resize.go, c5 in
// live/inval.go.
//
// An invalidation before the switch would leave stale pages behind; a store after it would
// bring some back; a lock held meanwhile would hang, since the kernel makes an
// invalidation wait for READs of the same pages (invalidate_inode_pages2_range of Linux
// waits for the lock of each).
//
// # What the steps cost
//
// The listing shows the READ of a part of a block of which other parts were served before, with
// its two nodes in the cache, and a commit that changes this one block. In brackets are the
// locks, in the order in which they are taken: "2 x Objects" is a lock that is taken twice,
// "1 a File" is the lock of each file, and a semicolon divides the locks as it divides the
// words before them. Callbacks up are numbered. Package observe, in parentheses, is called by
// an interface: it counts the loads of the storage that it is put around.
//
//	READ -> live     register (r1)                                        [File]
//	                 -> bigfile   acquire the load, and look ahead        [Loads, Ahead]
//	 goroutine 1        <- 1 live.File.load, of bigfile.Loads
//	                       -> versions, btree   file and nodes            [3 x Objects]
//	                          <- 2 versions.Objects.Node, of btree.Source
//	                       -> bigfile -> (observe) -> fs1, record         [3 x fs1]
//	                    release the load                                  [Loads]
//	                 serve, find no watch, the reply goes (r3)            [File, Loads]
//	                 -> bigfile   store the rest
//	 goroutine 2        <- 3 fusefs, of bigfile.PageCache
//	                    release the load                                  [Loads]
//	                    <- 4 live, stored                                 [File]
//	     <- reply is written
//	     -> bigfile  release the load                                     [Loads]
//	        <- 5 live, unregister                                         [File]
//
//	     locks taken: File 4 times, Loads 5, Ahead 1, Objects 3, fs1 3, together 16;
//	     2 goroutines, 5 callbacks
//
//	commit -> live
//	          c1     append to history; prepare each file            [2 x Objects, Head; 1 a File]
//	                 which blocks                                    [Index, File]
//	          c2     stores under way                                [File]
//	          c3     old content; what to pin early                  [File, fs1, Preserved; File]
//	          c4     switch: head; size; each file, with the tail    [Head; File; 1 a File and Objects]
//	          c5, c6 without parked READs, a range of pages          [File]
//	          c7     publish                                         [Head]
//	          c8     forget                                          [Head, 4 x Objects, fs1]
//	          -> core.Observer.Committed
//
//	     locks taken: File 8 times, Head 4, Objects 7, others 4, together 23, and 3 for each
//	     other file; a goroutine to copy old content, and 2 to invalidate a range
//
// # Locks
//
// A lock is taken before those in the rows below it; two of one row are never held
// together, but where the row says it.
//
//	1  live.Head.mu       which files there are, which view is published (live/head.go)
//	2  live.File.mu       what is served of one file; its READs and watches (live/file.go)
//	3  live.Head.indexMu  which objects lead to what is served (live/head.go)
//	   isolation.Link.mu  requests and messages of one link, taken before wire.Output.mu:
//	                      a pin is written in the section that finds it wanted
//	   bigfile.Ahead.mu   what is loaded ahead of readers, taken before bigfile.Loads.mu
//	4  all others, as versions.Objects.mu, live.Preserved.mu, isolation.Engine.mu and those
//	   of a storage: leaves, but that a storage queues events under its lock
//
// All are held for map operations only: never during a load, a call into the kernel, or a
// wait for a client. Programs that are built with the tag invariants, as tests are, check the
// order of three locks by core/lock: Head.mu, File.mu and Head.indexMu, whose ranks are in
// live/head.go. Nothing but discipline keeps the order of all others.
package core
