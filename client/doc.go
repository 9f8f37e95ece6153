// Package client shows arrays (ZBigFile) of a ZODB database as memory that does
// not change, while others commit to it. The data is that of a wcfs server,
// which has the database mounted, and is shared by all processes of the host: it
// is in the page cache of the kernel once, whoever uses it.
//
// # Nouns
//
// A WCFS is a mounted database. A Conn is one view of it: the database as of one
// transaction, whose id is a Tid. A File is an array, named by its Oid, as of
// the view of its Conn; it consists of blocks of BlkSize bytes, normally 2 MiB.
// A Mapping is a range of blocks in memory. Conn.Resync moves a Conn with all
// its Files and Mappings to another view. A Snapshot is a view that is read
// directly; see there when to use it.
//
// Blocks are counted from 0. Sizes and offsets are in bytes. The bytes behind
// the end of an array read as zeros.
//
// # How memory keeps still
//
// The memory is mapped from the newest state of the array. When a block
// changes, and somebody wants to read the new content, the server first asks
// every Conn that must not see it to map that block from the past, and waits.
// This is a pin. A pinner of the Conn answers, while threads that touch the
// memory wait for the page. A process that does not answer within the pin
// timeout of the server, normally 30 s, is killed, as everybody else would have
// to wait.
//
// A Go program has a difficulty here: a thread that waits for a page cannot be
// stopped, and garbage collection has to stop all threads; so with ordinary
// goroutines it might happen that the pinner waits for the collector, the
// collector for the thread, the thread for the server, and the server for the
// pinner. This does not happen with this package. A pinner needs neither locks
// nor memory nor a processor (GOMAXPROCS) of the Go runtime, which takes all of
// its work for one long system call. So mapped memory may be read like any
// other, by any number of goroutines.
//
// # Caveats
//
// Memory is read-only. Writing to it ends the process, also in View.
//
// Memory must not be used after Mapping.Unmap: at that address there may be
// something else. After File.Close, Conn.Close, or a failure of the Conn, it
// faults instead: it never shows other data than that of the view. A fault ends
// the process with "unexpected fault address", unless the goroutine reads within
// Mapping.View, or uses debug.SetPanicOnFault and recover itself.
//
// If the server dies, or cannot load a block, touching the memory faults, and
// calls return an error that wraps ErrCrashed, or that of the operating system.
// There is no reconnect: close everything and join again. Also when an array
// becomes shorter, which ZODB applications do by undo only, blocks that are gone
// from the newest state fault until the next Resync.
//
// While a thread waits for a page that the server has to load, the Go runtime
// waits for the thread when it wants to collect garbage, and all goroutines do.
// The wait ends when the block is loaded, but may take long if the database is
// slow. Mapping.Load loads blocks within a system call, which is not in the way
// of anybody. Loaded blocks may be taken away again by the kernel when memory
// is short, or by a commit; so Load makes such waits rare but cannot exclude
// them. File.ReadAt does exclude them, for the price of a copy, and returns
// errors where memory faults.
//
// A server must not need a process that maps its files to load a block: it
// would wait for itself. This concerns a database server in tests.
//
// A process killed with SIGSTOP or a debugger answers no pins, and is killed
// when that takes too long.
//
// A Conn may fail if the process has too many mappings: every pinned block may
// need two more (see /proc/sys/vm/max_map_count).
//
// The block size is what stat tells, so it must be a power of two. Mmap needs
// blocks of whole pages; for others there is ReadAt.
//
// Linux on 64-bit machines only. Binaries for a debugger, built with -gcflags
// "all=-N -l", need this package optimised as always: add
// -gcflags=github.com/wcfs/wcfs/client= behind that.
//
// # Ownership and locking
//
// Everything may be called from all goroutines at the same time, and Close of
// anything more than once. Closing a WCFS closes its Conns, and closing a Conn
// its Files; Mappings are the caller's to Unmap, before or after. Resync waits
// until other calls of the Conn have ended, and those wait for it; Close
// interrupts them. A goroutine of a Conn runs its pinner, another one takes
// answers of the server, and Close waits for both.
//
// Within the package Conn.view is acquired before handle.inUse, that before
// Mapping.mu, and Conn.mu and WCFS.mu are held for memory operations only. The
// lock of the pinner is below all; see pinner.go and syscall.go.
package client
