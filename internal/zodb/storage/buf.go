package storage

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Buf is a reference-counted buffer. It is made with one reference.
//
// Data stays valid until the last reference is released; then its memory is
// used for something else. A Buf that is never released is left to the garbage
// collector. With the build tag "invariants", which all tests have, memory is not used
// again, and has no content of anybody after the last Release.
type Buf struct {
	Data []byte

	refs  atomic.Int32
	class int // index into bufPools, or -1
}

// Size classes are 9/8 * 2^k bytes: a block of 2^k bytes together with the
// header of its record fits into the class of its own size and does not take
// twice the memory.
const (
	minClassBits = 9  // smallest class: 576 bytes
	maxClassBits = 23 // largest class: 9 MiB; more is made and dropped
)

// bufPools keeps released buffers, one pool per class. It has no meaning
// beyond saving allocations.
var bufPools [maxClassBits - minClassBits + 1]sync.Pool

func classSize(class int) int { return 9 << (class + minClassBits - 3) }

// classOf returns the smallest class that holds n bytes, or -1.
func classOf(n int) int {
	class := max(0, bits.Len(uint(max(n-1, 0)))-1-minClassBits)
	for class < len(bufPools) && classSize(class) < n {
		class++
	}
	if class >= len(bufPools) {
		return -1
	}
	return class
}

// NewBuf returns a buffer of n bytes with undefined content.
func NewBuf(n int) *Buf {
	class := classOf(n)
	if class < 0 {
		b := &Buf{Data: make([]byte, n), class: -1}
		b.refs.Store(1)
		return b
	}
	b := take(class)
	if b == nil {
		b = &Buf{Data: make([]byte, classSize(class)), class: class}
	}
	b.Data = b.Data[:n]
	b.refs.Store(1)
	return b
}

// Retain adds a reference and returns b.
func (b *Buf) Retain() *Buf {
	if b.refs.Add(1) <= 1 {
		panic("BUG: storage.Buf: Retain after the last Release")
	}
	return b
}

// Release drops a reference. The caller must not touch b or its Data after it.
func (b *Buf) Release() {
	switch refs := b.refs.Add(-1); {
	case refs > 0:
		return
	case refs < 0:
		panic("BUG: storage.Buf: more Releases than references")
	}
	b.retire()
}
