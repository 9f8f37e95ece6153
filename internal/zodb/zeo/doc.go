// Package zeo talks to ZEO servers: one connection is one session.
//
// # Nouns
//
// A Config says which server to talk to; Parse makes one of a url. Dial connects, and
// gives a remote.Session: loads, past transactions, and what is committed. The common
// part of all servers is in package remote: connecting again, waiting, order.
//
// A message is a frame with its length before it. A codec writes and reads what is in
// it: codecZ pickles, codecM msgpack, whichever the server says first. Their values are
// those of package pickle. A call is a request that waits for its reply.
//
// # The protocol
//
// It is version 5, of ZEO 5 and 6. The server speaks first, and the client answers with
// the same word. Replies come in any order and find their call by its number. A call that
// is given up stays in the table until it is answered. Notifications tell what others
// commit; a reply may overtake them. Anything that the protocol does not have ends the
// session: a server that speaks so cannot be relied on.
//
// # Committing
//
// DialWriter gives a remote.Writer: a session that was registered to write. A server
// handles requests in their order, and does not answer those that store. So a call
// between them tells how far it is, and what it has not taken is bounded (window). An
// error of such a request ends the connection; all others come with the vote.
//
// # Half a connection
//
// Package link notices a server that is gone without a word. A writer waits for longer: a
// server does nothing else while it takes a big commit.
//
// # Bounds
//
// A message is at most Config.MaxMessage long, and takes memory as it arrives. Its
// decoded values take memory in proportion. Calls under way are bounded by package link.
//
// # Ownership and locking
//
// A session has the goroutines of its link. Transactions has some that get records, and
// waits for them.
//
// A frame belongs to the reply that was made of it, and goes back to its pool when the
// record in it was copied out. Values are parts of their frame until then.
//
// # Caveats
//
// A deleted object is answered like one that never was, and one that was not created
// yet like one that was packed away. Deleted and restored objects are not told with
// commits: the list of objects is empty if there are no others, and too short otherwise.
// Only Transactions tells. The extension of a transaction comes as a dict, and is
// pickled anew without what has no form here. A msgpack server cannot list a transaction
// whose extension has what msgpack does not know.
package zeo
