// Package link carries calls over one connection to a server: what the protocols of
// drivers have in common, whatever their messages look like.
//
// # Nouns
//
// A Link is a connection with a number of calls under way. A Call is a request that
// waits for its reply, which finds it by its number. The driver says what a
// reply is (R). Connect makes a connection that notices when the other host is gone, and
// Words say in the terms of a person why one cannot be made.
//
// # Waiting
//
// Requests are queued and never wait for a server that does not read. Not more than
// MaxCalls calls are under way, more wait; so the queue is bounded. A call that is given
// up stays in the table until it is answered: its reply comes all the same.
//
// # Half a connection
//
// A server that is gone without a word is noticed: one that has been quiet for 10 s is
// asked for a sign, and is taken for gone after 25 s. Every byte is a sign. So a big
// reply over a slow line does no harm, while a server that was stopped is as good as gone.
//
// # Ownership and locking
//
// A link has three goroutines, and Close waits for them: one reads and never waits for
// anybody but the server, one writes what the outbox has, one watches. table.mu and
// outbox.mu are leaves, held for operations on a map and a slice.
package link
