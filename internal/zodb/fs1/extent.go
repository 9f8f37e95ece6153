package fs1

import (
	"bufio"
	"compress/zlib"
	"io"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// fills reports whether the bytes from a position up to another are exactly the data
// of one record: a pickle of the class and one of the state, maybe compressed. It
// decides which statement about the length of a record is right when the header is
// damaged.
func fills(f io.ReaderAt, from, to int64) bool {
	r := bufio.NewReader(io.NewSectionReader(f, from, to-from))
	if head, err := r.Peek(2); err == nil && string(head) == ".z" {
		_, _ = r.Discard(2)
		z, err := zlib.NewReader(r) // reads no further than it must
		if err != nil {
			return false
		}
		if _, err := io.Copy(io.Discard, io.LimitReader(z, storage.MaxUnpacked)); err != nil {
			return false
		}
		return atEnd(r)
	}
	for range 2 {
		if err := pickle.Skip(r); err != nil {
			return false
		}
	}
	return atEnd(r)
}

func atEnd(r *bufio.Reader) bool {
	_, err := r.ReadByte()
	return err == io.EOF
}
