// Package ndarray says what the bytes of an array mean: its shape, the type of
// its items and their order.
//
// # Nouns
//
// A DType is the type of one item, as numpy.dtype is: a scalar, a sub-array, or
// a structure with named fields. It is parsed from what people type (ParseDType),
// or comes with an Array or a Header. An Array is what the record of a ZBigArray
// says: type, shape and order of the items, and which file has them. A Header is
// what the first bytes of an .npy file say.
//
// # Text of a type
//
// Types are spelled as numpy spells them. Structures are the list that numpy calls
// descr, where padding is a field without name; fields that overlap or are out of
// order are the dict that numpy prints instead.
//
//	<f8
//	('<f8', (2, 3))
//	[('t', '<f8'), ('', '|V4'), ('v', '>i4', (2, 3))]
//	{'names': ['a', 'b'], 'formats': ['<i4', '<i2'], 'offsets': [2, 0], 'itemsize': 6}
//
// # Bounds
//
// Records and headers come from outside. An item has at most 2 GiB, an array at
// most 8 EiB in at most 64 dimensions, a header at most 1 MiB. The fields of a
// type, nested ones included, are counted as often as they are used, so that a
// small pickle that refers to the same type many times does not become a big one.
//
// # Ownership and locking
//
// A DType is immutable and may be shared. Arrays and Headers are plain values of
// their owner. Nothing here has locks or state.
//
// # Caveats
//
// "Native" byte order means little-endian. Types with references to Python
// objects are refused. Metadata of a type, and whether it is a numpy.record, is
// not kept.
//
// Where fields share one type, Python pickles that once and refers to it
// afterwards. Here it is written each time, which says the same in more bytes.
package ndarray
