// Package wire is the language of head/watch: lines, the messages in them, and the bytes
// that wait for a client. It knows nothing of watches and processes.
//
// A frame is one line: a stream number, a space, a message. Requests of the client have
// odd numbers and pins of the server even ones; a reply has the number of its request. The
// stream 0 is for messages of the server that nobody replies to. See doc/protocol.rst.
//
// A line of a client is bounded by MaxLine before it is kept, and what waits for a client
// that does not read by MaxOutput. An Input is guarded by its owner; an Output has a lock of its
// own, which is held for copying only.
package wire
