package fs1

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// fills reports whether the bytes from a position up to another are exactly the data
// of one record: a pickle of the class and one of the state, maybe compressed. What
// was said about the length of a record whose header is damaged is found out by it.
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
		if err := skipPickle(r); err != nil {
			return false
		}
	}
	return atEnd(r)
}

func atEnd(r *bufio.Reader) bool {
	_, err := r.ReadByte()
	return err == io.EOF
}

var errNoPickle = errors.New("not a pickle")

// Kinds of what follows an opcode of a pickle, besides a number of bytes.
const (
	argLine  = -1 - iota // up to a newline
	argLines             // two of them
	argLen1              // bytes, with their number in front
	argLen4
	argLen8
	argStop
	argNone = 0
)

// opcodeArgs says what follows each opcode of protocols 0 to 5.
var opcodeArgs = map[byte]int{
	'.': argStop,
	'(': argNone, '0': argNone, '1': argNone, '2': argNone, 'N': argNone, 'Q': argNone, 'R': argNone,
	'a': argNone, 'b': argNone, 'd': argNone, 'e': argNone, 'l': argNone, 'o': argNone, 's': argNone, 't': argNone,
	'u': argNone, '}': argNone, ']': argNone, ')': argNone,
	0x81: argNone, 0x85: argNone, 0x86: argNone, 0x87: argNone, 0x88: argNone, 0x89: argNone,
	0x8f: argNone, 0x90: argNone, 0x91: argNone, 0x92: argNone, 0x93: argNone, 0x94: argNone, 0x97: argNone, 0x98: argNone,
	'F': argLine, 'I': argLine, 'L': argLine, 'P': argLine, 'S': argLine, 'V': argLine, 'g': argLine, 'p': argLine,
	'c': argLines, 'i': argLines,
	'K': 1, 'h': 1, 'q': 1, 0x80: 1, 0x82: 1,
	'M': 2, 0x83: 2,
	'J': 4, 'j': 4, 'r': 4, 0x84: 4,
	'G': 8, 0x95: 8,
	'U': argLen1, 'C': argLen1, 0x8a: argLen1, 0x8c: argLen1,
	'T': argLen4, 'X': argLen4, 'B': argLen4, 0x8b: argLen4,
	0x8d: argLen8, 0x8e: argLen8, 0x96: argLen8,
}

// skipPickle reads over one pickle.
func skipPickle(r *bufio.Reader) error {
	for {
		op, err := r.ReadByte()
		if err != nil {
			return err
		}
		arg, ok := opcodeArgs[op]
		if !ok {
			return errNoPickle
		}
		switch arg {
		case argStop:
			return nil
		case argLine:
			err = skipLines(r, 1)
		case argLines:
			err = skipLines(r, 2)
		case argLen1:
			err = skipCounted(r, 1)
		case argLen4:
			err = skipCounted(r, 4)
		case argLen8:
			err = skipCounted(r, 8)
		default:
			_, err = r.Discard(arg)
		}
		if err != nil {
			return err
		}
	}
}

func skipLines(r *bufio.Reader, n int) error {
	for range n {
		for {
			line, err := r.ReadSlice('\n')
			if bytes.IndexByte(line, 0) >= 0 {
				return errNoPickle
			}
			if err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return err
			}
		}
	}
	return nil
}

func skipCounted(r *bufio.Reader, width int) error {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:width]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(b[:])
	if n > math.MaxInt32 {
		return errNoPickle
	}
	_, err := r.Discard(int(n))
	return err
}
