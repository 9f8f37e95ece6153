package fusefs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// directTag is set in the offset of READs through a descriptor that has
// O_DIRECT at that moment. No file is so large that it could be a real offset.
//
// Such a READ locks no pages, so an invalidation must not leave out what it
// reads. Only the request itself tells: O_DIRECT can be set after open, and the
// node API of the FUSE library does not pass the flags on.
const directTag = 1 << 62

// rawFS tags READs before they reach the nodes.
type rawFS struct{ fuse.RawFileSystem }

func (r rawFS) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if in.Offset >= directTag {
		return fuse.ReadResultData(nil), fuse.OK // far beyond the end of anything
	}
	if in.Flags&syscall.O_DIRECT != 0 {
		tagged := *in
		tagged.Offset |= directTag
		in = &tagged
	}
	return r.RawFileSystem.Read(cancel, in, buf)
}

// untag takes the tag off an offset.
func untag(off int64) (clean int64, direct bool) {
	return off &^ directTag, off&directTag != 0
}

// readResult hands a reply to the FUSE library, which writes the slices with
// one writev(2) and calls Done after it. Without Slices it would call Done
// before the bytes are written when splicing is disabled.
type readResult struct{ reply *bigfile.Reply }

func (r readResult) Size() int                       { return r.reply.Size() }
func (r readResult) Slices() ([][]byte, fuse.Status) { return r.reply.Slices(), fuse.OK }
func (r readResult) Done()                           { r.reply.Release() }
func (r readResult) Bytes(buf []byte) ([]byte, fuse.Status) {
	buf = buf[:0]
	for _, piece := range r.reply.Slices() {
		buf = append(buf, piece...)
	}
	return buf, fuse.OK
}
