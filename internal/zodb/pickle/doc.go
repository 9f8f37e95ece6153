// Package pickle decodes any pickle that a ZODB database may hold, as values.
//
// # Nouns
//
// Record decodes the record of an object: its class and its state. Decode
// decodes a single pickle, such as the extension of a transaction. A value is
// what Python had, in the types of this package; nothing is imported or called,
// and where Python would call something to make an object there is an *Object
// that says what and with what. Get, Text, Int and Refs look into values.
//
// # Why another decoder
//
// It is for looking, never for serving: it finds names, shapes and references.
// Package record decodes the few forms that arrays are made of, without
// allocation, and is what a READ goes through. Package ogórek, which record
// falls back to, has no BUILD, NEWOBJ or sets, so that one array with a dtype
// hides all of its record, and takes lists from the memo by value, which loses
// what was appended to them. Here all opcodes of protocols 0 to 5 are known that
// do not need something from outside of the pickle.
//
// # Bounds
//
// Pickles come from outside. Values take at most 64 times the space of the
// pickle plus 1 MiB, as counted while they are made, and decoding takes time in
// proportion to that. What needs more, what is malformed, and what has bytes
// behind its end gives an *Error. Values share what the pickle shares.
//
// # Ownership and locking
//
// Values are the caller's and refer to nothing of the data, but for those of
// DecodeInPlace. Functions may be called from any number of goroutines.
//
// # Caveats
//
// Values may be nested to any depth, contain themselves, and share so much that
// walking all of it takes exponential time. So do not walk them by recursion,
// nor print them with %v: look at what is expected, or use Refs.
//
// Text is as Python wrote it, which need not be valid UTF-8: surrogates may
// stand alone. Text the function tells.
package pickle
