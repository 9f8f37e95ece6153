// Package neoproto is the language of NEO clusters: protocol version 5, msgpack, as far
// as clients speak it.
//
// # Nouns
//
// A Packet is a number and a Message; which kind of message it is, a Code tells. A
// request and its answer have the same number, and the code of the answer is that of the
// request with the bit Answer. Each side numbers its requests and notifications on its
// own, so one number may mean two things: the bit decides.
//
// A Reader takes packets from a stream, which has no lengths: it is one msgpack value
// after the other. Append writes one.
//
// # Encoding
//
// All text is of the type bin. Enumerations are values of an extension type each, but for
// the code of an Error, which is a number. An absent value is nil; here it is 0, or -1
// where 0 means something.
//
// # Bounds
//
// A packet is at most as long as the Reader was told. Memory is taken in proportion to
// what has arrived, whatever a header promises.
//
// # Ownership
//
// The data of an Object is a buffer of its own, which belongs to whoever has the packet.
package neoproto
