package bigfile

import "github.com/wcfs/wcfs/internal/zodb/storage"

// Extent is the part [From, To) of block Blk, in bytes from its beginning.
type Extent struct {
	Blk      int64
	From, To int64
}

// Extents cuts the range [off, off+n) of a file at block boundaries. The range
// must be valid: off and n not negative and no overflow.
func Extents(off int64, n int, blksize int64) []Extent {
	if n == 0 {
		return nil
	}
	end := off + int64(n)
	first, last := off/blksize, (end-1)/blksize
	extents := make([]Extent, 0, last-first+1)
	for blk := first; blk <= last; blk++ {
		start := blk * blksize
		extents = append(extents, Extent{blk, max(off-start, 0), min(end-start, blksize)})
	}
	return extents
}

// zeros is what holes and trimmed tails are read from. It is never written, so
// it takes no memory: all its pages are the kernel's one page of zeros.
var zeros [1 << 20]byte

// maxVecs bounds the pieces of one reply: writev(2) takes at most 1024.
const maxVecs = 512

// appendRange appends to vecs the bytes [from, to) of a block whose data is
// followed by zeros.
func appendRange(vecs [][]byte, data []byte, from, to int64) [][]byte {
	if n := int64(len(data)); from < n {
		end := min(to, n)
		vecs = append(vecs, data[from:end])
		from = end
	}
	for from < to {
		n := min(to-from, int64(len(zeros)))
		vecs = append(vecs, zeros[:n])
		from += n
	}
	return vecs
}

// Reply is the answer to a READ: pieces of blocks that stay in memory until
// Release. Nothing is copied, except when the pieces would be too many.
type Reply struct {
	vecs  [][]byte
	size  int
	owned []Releaser
	flat  *storage.Buf
	gone  bool // it was released
}

// Slices returns the pieces in order. They are valid until Release.
func (r *Reply) Slices() [][]byte { return r.vecs }

// Size returns the sum of the lengths of the pieces.
func (r *Reply) Size() int { return r.size }

// Add appends the extent e of a block with that data. The reply takes over
// owner, which keeps data in memory, and releases it in the end.
func (r *Reply) Add(owner Releaser, data []byte, e Extent) {
	r.owned = append(r.owned, owner)
	r.vecs = appendRange(r.vecs, data, e.From, e.To)
	r.size += int(e.To - e.From)
}

// Own makes the reply release owner in the end.
func (r *Reply) Own(owner Releaser) { r.owned = append(r.owned, owner) }

// Flatten copies the pieces into one when they are too many for writev(2): with
// tiny blocks a copy is cheaper than the pieces anyway.
func (r *Reply) Flatten() {
	if len(r.vecs) <= maxVecs {
		return
	}
	flat := storage.NewBuf(r.size)
	at := 0
	for _, v := range r.vecs {
		at += copy(flat.Data[at:], v)
	}
	r.vecs, r.flat = [][]byte{flat.Data}, flat
}

// Release gives everything back, once. The slices must not be used after it.
func (r *Reply) Release() {
	if r.gone {
		panic("BUG: bigfile.Reply: released twice")
	}
	for _, owner := range r.owned {
		owner.Release()
	}
	if r.flat != nil {
		r.flat.Release()
	}
	*r = Reply{gone: true}
}
