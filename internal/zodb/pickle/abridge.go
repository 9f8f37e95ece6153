package pickle

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// keepText is how long a string may be that Abridge leaves as it is, in bytes.
const keepText = 4096

// TooBigError says that there is too much to look into even without long strings.
type TooBigError struct{ Limit int }

func (e *TooBigError) Error() string {
	return fmt.Sprintf("its values take more than %d bytes without the long strings in them, which is too much to look into", e.Limit)
}

// Abridge reads a record and returns it with a short string in place of each one of
// more than some thousand bytes, so that its references and their names can be found
// in little memory: at most limit bytes. A record without references comes with None
// for its state, however big it is.
//
// Errors: *Error, *TooBigError, or the one that r failed with.
func Abridge(r io.Reader, limit int) ([]byte, error) {
	a, err := abridge(r, limit)
	switch {
	case err != nil:
		return nil, err
	case !a.refs && a.class != nil:
		return append(a.class, OpNone, OpStop), nil
	case a.tooBig:
		return nil, &TooBigError{limit}
	}
	return a.out, nil
}

// abridge runs an abridger to the end of the data. Whether that is the end of a pickle
// is for who decodes it.
func abridge(r io.Reader, limit int) (*abridger, error) {
	a := &abridger{r: bufio.NewReaderSize(r, 64<<10), longest: math.MaxInt64}
	for {
		op, err := a.r.ReadByte()
		if err == io.EOF {
			return a, nil
		}
		if err == nil {
			err = a.op(op)
		}
		if err != nil {
			return nil, err
		}
		if len(a.out) > limit { // go on only to find out whether it refers to anything
			a.tooBig = true
			a.out = a.out[:0]
		}
	}
}

// abridger copies one opcode after another.
type abridger struct {
	r       *bufio.Reader
	longest uint64 // bytes of an argument
	pos     int64  // bytes of arguments and opcodes that were read; for errors
	out     []byte
	cut     int    // strings that were left out
	class   []byte // first pickle, once it is complete
	refs    bool
	tooBig  bool // out is not what it should be
}

func (a *abridger) op(op byte) error {
	a.pos++
	o := &opcodes[op]
	switch op {
	case opFrame: // the length would not be right any more, and nobody needs it
		_, err := a.r.Discard(8)
		return a.ended(err)
	case opPersid, OpBinPersid:
		a.refs = true
	}
	a.out = append(a.out, op)
	if op == OpStop && a.class == nil {
		a.class = bytes.Clone(a.out)
	}
	switch {
	case o.do == nil:
		return &Error{Pos: int(a.pos) - 1, Msg: unknown(op)}
	case o.arg&counted != 0:
		return a.counted(int(o.arg & nArg))
	case o.arg&lines != 0:
		for range o.arg & nArg {
			if err := a.line(op); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := a.read(int(o.arg))
	return err
}

// read copies n bytes, and returns them.
func (a *abridger) read(n int) ([]byte, error) {
	begin := len(a.out)
	a.out = slices.Grow(a.out, n)[:begin+n]
	_, err := io.ReadFull(a.r, a.out[begin:])
	a.pos += int64(n)
	return a.out[begin:], a.ended(err)
}

// counted copies an argument whose length is told by size bytes before.
func (a *abridger) counted(size int) error {
	count, err := a.read(size)
	if err != nil {
		return err
	}
	var word [8]byte
	copy(word[:], count)
	n := binary.LittleEndian.Uint64(word[:])
	if n <= keepText {
		_, err := a.read(int(n))
		return err
	}
	if n > a.longest {
		return &Error{Pos: int(a.pos), Msg: fmt.Sprintf("an argument of %d bytes", n)}
	}
	skipped, err := io.CopyN(io.Discard, a.r, int64(n))
	a.pos += skipped
	if err != nil {
		return a.ended(err)
	}
	text := a.instead()
	binary.LittleEndian.PutUint64(word[:], uint64(len(text)))
	copy(a.out[len(a.out)-size:], word[:size])
	a.out = append(a.out, text...)
	return nil
}

// instead returns a text that takes the place of a long one, and is different each
// time: it may be a key.
func (a *abridger) instead() string {
	a.cut++
	return fmt.Sprintf("(long #%d)", a.cut)
}

// line copies an argument up to a newline.
func (a *abridger) line(op byte) error {
	begin := len(a.out)
	long := false
	for {
		part, err := a.r.ReadSlice('\n')
		a.pos += int64(len(part))
		if long = long || len(a.out)-begin+len(part) > keepText; !long {
			a.out = append(a.out, part...)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return a.ended(err)
		}
	}
	if !long {
		return nil
	}
	text := a.instead()
	switch op {
	case opString:
		text = "'" + text + "'"
	case opUnicode:
	default:
		return &Error{Pos: int(a.pos), Msg: "a line that is too long"}
	}
	a.out = append(append(a.out[:begin], text...), '\n')
	return nil
}

// ended makes an end of the data inside of an argument an error of the pickle.
func (a *abridger) ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{Pos: int(a.pos), Msg: "data ends inside a pickle"}
	}
	return err
}
