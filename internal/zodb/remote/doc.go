// Package remote serves databases behind a server, whatever happens to the server or
// the network: what all drivers of servers have in common.
//
// # Nouns
//
// A Session is one connection to a server, and Dial makes one; they belong to the
// driver, which knows its protocol and nothing else. A Storage is a storage.Storage over
// one session after the other. A conn is a session together with the commits that it
// told of and that are not published yet. An outage begins when a session ends and is
// over when all that was missed is published.
//
// A Writer is a session that commits. It belongs to its caller, and to no Storage.
//
// # Sessions
//
// The supervisor is the goroutine that does everything that changes the state of a
// Storage. It dials, finds out whether the server still has the history that was served,
// gets what was missed, completes and publishes what the session tells, and closes the
// session when that has ended or has broken a rule; then again. The first attempt is made
// at once, and others about a second after the one before, for ever.
//
// A session is used for nothing until it is known to be of the same history:
//
//   - Its last transaction must not be below the last one that changed anything
//     (WentBackError). Head may be above: a FileStorage that was killed while it wrote a
//     transaction names that one as its last until the server opens the file again.
//   - It must have that transaction, and up to head nothing else, now and later. A pack may
//     have removed it; then some of the records that were seen must be there as they were,
//     and none may be another (AnotherDatabaseError). A record that is not there says
//     nothing.
//
// These errors end the storage, and so does a server that is asked three times what was
// missed and cannot tell (HistoryLostError): the stream never goes on over a gap.
//
// # Events
//
// The stream has what is missing between head and the last transaction of the session,
// as Transactions tells it, and then what the session tells. Tids up to head are left
// out. So a session may end anywhere on the way: the next one goes on from head. A session
// that tells a transaction twice, or out of order, is closed.
//
// Missing transactions are published in groups, each but the last of a group with
// Event.More: readers of the newest state are not shown the ones that passed during an
// outage.
//
// A commit without objects is completed by Transactions before it is published. ZEO and NEO do
// not list objects that were deleted or restored. The supervisor waits for that, and what
// follows waits behind it.
//
// Objects that a pack removes from transactions that are not published yet are not told.
// They were replaced by later transactions, which are told, or nothing refers to them. If
// the last transaction is gone, it is told without objects, since it is a view that
// clients may have.
//
// # Waiting
//
// Load and Sync wait while there is no session, and are repeated when theirs ends. Of a
// LoadMany only those objects are asked for again that have had no answer. They
// fail with an AwayError when it takes longer than Config.Timeout from when the session
// ended, or they began, whichever is later; when the server does not answer for as long;
// or when maxLost sessions have ended under one call, since the call itself may be what
// ends them.
//
// A reply of Last may overtake the commit that it tells of. So Sync waits until head is
// there. If the session has not told of it after Config.Timeout, it has lost commits, and
// is closed.
//
// # Ownership and locking
//
// The supervisor owns the session. Beside it there is one watcher per session, which ends
// the context of its conn when the session is done; the supervisor waits for it. Readers
// of sessions only append to the list of their conn (Commits). The conn of a session that
// has ended takes nothing any more, so what comes late does nothing.
//
// Storage.mu guards what callers see; publishing holds it so that head and the queue of
// events agree. It, conn.mu and memory.mu are leaves but for the lock of the queue, and
// nothing is called or waited for under them.
//
// Close ends the context of everything, whatever the supervisor does: it is dialing,
// pausing, or in a call of a session, all of which end then, and closes what session
// there is. Calls under way fail with ErrClosed when their session has ended.
//
// # Caveats
//
// A list that is not empty does not show that it lacks objects. ZEO tells such lists of
// transactions that both write objects and delete or restore others, which ZODB's own
// connections do not commit.
//
// A pack on the server is not noticed. Records that it has removed do not exist for
// Load.
package remote
