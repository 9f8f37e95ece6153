package zeo

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// headerLen is the length of what stands before each message: its own length.
const headerLen = 4

// firstPart is how much of a message has memory at once, whatever its header says. It
// holds the usual block with all around it, so that those are not moved while they come.
const firstPart = 4 << 20

// readFrame reads one message of at most limit bytes. The memory that it takes is in
// proportion to what has arrived, and not to what the header promises.
//
// The error is io.EOF if there is nothing more, a *ProtocolError for a length that
// cannot be, or the one of r.
func readFrame(r io.Reader, limit int64) (*storage.Buf, error) {
	var header [headerLen]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(header[:]))
	if n == 0 || n > limit {
		return nil, &ProtocolError{fmt.Sprintf("a message of %d bytes, where 1 to %d are expected", n, limit)}
	}
	return readBody(r, int(n))
}

func readBody(r io.Reader, n int) (*storage.Buf, error) {
	buf := storage.NewBuf(min(n, firstPart))
	for have := 0; ; {
		m, err := io.ReadFull(r, buf.Data[have:])
		if err != nil {
			buf.Release()
			if err == io.EOF {
				err = io.ErrUnexpectedEOF // a message has begun
			}
			return nil, err
		}
		if have += m; have == n {
			return buf, nil
		}
		more := storage.NewBuf(min(n, 2*have))
		copy(more.Data, buf.Data)
		buf.Release()
		buf = more
	}
}

// appendFrame appends the message that put appends, with its length before it.
func appendFrame(b []byte, put func([]byte) []byte) []byte {
	start := len(b)
	b = put(append(b, make([]byte, headerLen)...))
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-headerLen))
	return b
}
