// Package form says how an array looks as a file of NumPy (.npy): a header, and then its
// items. Package ndarray, far below, knows about types and shapes; a Form has the part of that
// which the core needs.
package form

import "lab.nexedi.com/kirr/neo/go/zodb"

// Form is an array as a file, as of a view. It is immutable.
type Form struct {
	File   zodb.Oid // the ZBigFile that has the items, from its first byte on
	Rev    zodb.Tid // serial of the record of the array
	Header Header   // stands before the items
	Items  int64    // bytes of the items; what the ZBigFile does not have of them is zeros
}

// Header is what stands before the items: whole pages, which must not be changed. It has
// negative offsets in the core, so that items and blocks have the same ones as in the
// ZBigFile.
type Header []byte

// From returns the header from a negative offset on, nil if there is none of it.
func (h Header) From(off int64) []byte {
	if off >= 0 || -off > int64(len(h)) {
		return nil
	}
	return h[int64(len(h))+off:]
}
