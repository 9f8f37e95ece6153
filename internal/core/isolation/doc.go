// Package isolation speaks the protocol of head/watch with clients: it tells
// them, block by block, what to map from past views, so that memory mapped from
// head/ shows an unchanging snapshot. Package live decides what has to be pinned, and
// package wire says it; here are the links and the clients.
//
// # Nouns
//
// A Link is one open of head/watch, by one process. On it the client sets up,
// moves and removes watches, and is sent pins, which it has to acknowledge within
// a time.
//
// # Protection against bad clients
//
// Data is held back until all clients that must not see it are known not to. So
// a client that does not acknowledge a pin in time is ended: its process, which
// was found out when the link was opened and is held by a handle, so that nobody
// else can be hit. A client that hangs in the kernel, but will run nothing of its own
// any more, counts as ended. If a client may run again the whole filesystem is ended,
// rather than serve anybody while it may see wrong data. A client that says bye, or
// that is dying by itself, is left alone.
//
// # Ownership and locking
//
// Write and Read of a Link are called by the transport. Write never blocks. A link has
// these goroutines:
//
//   - a worker for each file that requests are in progress for (work), and one for the
//     answer to each request that cannot be understood;
//   - up to maxPins senders of pins, each with one pin at a time (sendPins);
//   - one sender of the urgent pins, for which READs wait, and a goroutine for each pin
//     that it has sent and that is not answered (sendUrgent), at most maxPins;
//   - attend, which waits for the end of the client's process;
//   - end, when the link is down.
//
// The end of the link waits for the first three before it drops the watches; attend ends
// after that. The Engine waits for attend and end.
//
// Locks are held for map operations only, and nothing is waited for but channels, so that
// tests run it all with time standing still.
package isolation
