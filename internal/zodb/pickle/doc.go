// Package pickle reads pickles, which is the form that ZODB has its objects in, and knows
// how plain values are written.
//
// # Nouns
//
// An opcode is a byte of a pickle with its argument. A Machine executes opcodes, on a
// stack and with a memo, and has a Value at the end of a pickle. A Value tells its kind,
// and what numbers, strings, references, classes and tuples are; other kinds are
// recognised, and nothing is kept of them.
//
// Record and Decode keep everything: they return values of Go in the types of this
// package. A Record is the class of an object and its state; Decode is for a single
// pickle, such as the extension of a transaction. Nothing is imported or called, and
// where Python would call something to make an object there is an *Object that says
// what and with what. Get, Text and Int look into values of Go.
//
// Skip reads over a pickle, Abridge leaves out long strings, and Size tells the size of
// an opcode: they execute nothing.
//
// Package record serves READs with the Values of a Machine, which takes no memory for
// them. Records that are only looked at for names, shapes and references are decoded
// here. All opcodes of protocols 0 to 5 are known that do not need something from
// outside of the pickle.
//
// # Bounds
//
// Pickles come from outside. Values of Go take at most 64 times the space of the pickle
// plus 1 MiB, as counted while they are made, and decoding takes time in proportion to
// that. A Machine that keeps nothing takes four times the space of the pickle, and for
// other than the kinds of a Value, or more than one value for each 8 bytes, as much
// again as values of Go may, but no more than 65 MiB. A pickle that needs more, is
// malformed, or has bytes behind its end gives an *Error. Values share what the pickle
// shares.
//
// # Ownership and locking
//
// Values of Go are the caller's and refer to nothing of the data, but for those of
// DecodeInPlace. A Machine and its Values belong to one goroutine, until it is freed.
// Functions may be called from any number of goroutines.
//
// # Caveats
//
// Values of Go may be nested to any depth, contain themselves, and share so much that
// walking all of it takes exponential time. So do not walk them by recursion, nor print
// them with %v: look at what is expected.
//
// Text is as Python wrote it, which need not be valid UTF-8: surrogates may
// stand alone. The function Text tells.
package pickle
