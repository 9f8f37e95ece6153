package zwrite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// errTail says that what stands at a position, up to the end of the file, is
// not a finished transaction, and may be cut off.
var errTail = errors.New("not a finished transaction")

// scanner reads the records of a file of size bytes. Nobody changes the file
// meanwhile. Errors are *DamageError, or those of reading.
type scanner struct {
	path string
	size int64
	r    io.ReaderAt
	b    [dataHeaderLen]byte
}

// newScanner returns a scanner that reads ahead.
func newScanner(f io.ReaderAt, path string, size int64) *scanner {
	return &scanner{path: path, size: size, r: &window{f: f}}
}

func (s *scanner) damaged(pos int64, format string, args ...any) error {
	return &DamageError{Path: s.path, Pos: pos, What: fmt.Sprintf(format, args...)}
}

// next returns the transaction at pos, which must come after tid last. The
// error is io.EOF at the end of the file, and errTail at a tail.
func (s *scanner) next(pos int64, last zodb.Tid) (txnHeader, error) {
	if pos == s.size {
		return txnHeader{}, io.EOF
	}
	if s.size-pos < txnHeaderLen {
		return txnHeader{}, errTail
	}
	if _, err := s.r.ReadAt(s.b[:txnHeaderLen], pos); err != nil {
		return txnHeader{}, err
	}
	t := decodeTxnHeader(pos, s.b[:])
	if !t.plausible() || t.length > uint64(s.size-pos-trailerLen) {
		return txnHeader{}, s.checkNothingFollows(pos, last)
	}
	if t.tid <= last {
		return txnHeader{}, s.damaged(pos, "tid %s of the transaction is not after that of the previous one, %s", t.tid, last)
	}
	return t, nil
}

// checkNothingFollows returns errTail unless there is a transaction behind pos
// that is finished: it would be lost if the file were cut at pos. The last bytes
// of the file are the length of its last transaction.
func (s *scanner) checkNothingFollows(pos int64, last zodb.Tid) error {
	t, err := s.before(s.size, pos)
	var damage *DamageError
	switch {
	case errors.As(err, &damage):
		return errTail
	case err != nil:
		return err
	case t.status == statusVoted:
		return errTail
	case t.pos == pos:
		return s.damaged(pos, "header of the transaction: tid %s, status %q, strings of %d bytes in %d bytes",
			t.tid, t.status, t.user+t.desc+t.ext, t.length)
	case !t.plausible() || t.tid <= last:
		return errTail
	}
	return s.damaged(pos, "this is no transaction, but behind it there is one at position %d", t.pos)
}

// before returns the header, which may be implausible, of the transaction that
// ends at end and begins at from or later.
func (s *scanner) before(end, from int64) (txnHeader, error) {
	if end-from < txnHeaderLen+trailerLen {
		return txnHeader{}, s.damaged(end, "no transaction can end here")
	}
	if _, err := s.r.ReadAt(s.b[:trailerLen], end-trailerLen); err != nil {
		return txnHeader{}, err
	}
	length := binary.BigEndian.Uint64(s.b[:])
	if length < txnHeaderLen || length > uint64(end-trailerLen-from) {
		return txnHeader{}, s.damaged(end, "the length in front, %d, is wrong", length)
	}
	pos := end - trailerLen - int64(length)
	if _, err := s.r.ReadAt(s.b[:txnHeaderLen], pos); err != nil {
		return txnHeader{}, err
	}
	t := decodeTxnHeader(pos, s.b[:])
	if t.length != length {
		return txnHeader{}, s.damaged(pos, "length of the transaction is %d in front and %d behind", t.length, length)
	}
	return t, nil
}

// records calls f for each data record of t. All of them, and the trailer, are
// checked.
func (s *scanner) records(t *txnHeader, f func(oid zodb.Oid, pos int64)) error {
	pos := t.dataPos()
	if t.status == statusUndone {
		pos = t.dataEnd()
	}
	for pos < t.dataEnd() {
		d, err := s.record(pos, t.dataEnd())
		if err != nil {
			return err
		}
		if d.tid != t.tid || d.txn != t.pos {
			return s.damaged(pos, "data record says that it is of transaction %s at position %d; it is in %s at %d", d.tid, d.txn, t.tid, t.pos)
		}
		f(d.oid, pos)
		pos += d.len()
	}
	if _, err := s.r.ReadAt(s.b[:trailerLen], t.dataEnd()); err != nil {
		return err
	}
	if length := binary.BigEndian.Uint64(s.b[:]); length != t.length {
		return s.damaged(t.pos, "length of the transaction is %d in front and %d behind", t.length, length)
	}
	return nil
}

// record reads the header of the data record at pos, which must end at end or
// before. Links lead strictly backwards, so following them ends.
func (s *scanner) record(pos, end int64) (dataHeader, error) {
	if pos < firstDataPos || end-pos < dataHeaderLen {
		return dataHeader{}, s.damaged(pos, "no data record has place here")
	}
	if _, err := s.r.ReadAt(s.b[:], pos); err != nil {
		return dataHeader{}, err
	}
	d, version := decodeDataHeader(pos, s.b[:])
	switch {
	case version != 0:
		return d, s.damaged(pos, "data record has a version")
	case d.size > uint64(end-pos-dataHeaderLen) || d.len() > end-pos:
		return d, s.damaged(pos, "%d bytes of data do not fit", d.size)
	case d.txn < firstTxnPos || d.txn >= pos || d.prev != 0 && (d.prev < firstDataPos || d.prev >= d.txn):
		return d, s.damaged(pos, "data record links to positions %d and %d", d.txn, d.prev)
	}
	return d, nil
}

// back returns the position that a record without data points to, 0 if the
// object does not exist.
func (s *scanner) back(d *dataHeader) (int64, error) {
	if _, err := s.r.ReadAt(s.b[:backLen], d.pos+dataHeaderLen); err != nil {
		return 0, err
	}
	pos := int64(binary.BigEndian.Uint64(s.b[:]))
	if pos != 0 && (pos < firstDataPos || pos >= d.txn) {
		return 0, s.damaged(d.pos, "data record points back to position %d", pos)
	}
	return pos, nil
}

// window reads a file ahead in pieces, for headers that follow each other.
type window struct {
	f   io.ReaderAt
	off int64
	buf []byte // valid bytes at off
	mem []byte
}

const windowLen = 64 << 10

// ReadAt implements io.ReaderAt for up to windowLen bytes.
func (w *window) ReadAt(p []byte, off int64) (int, error) {
	if off < w.off || off+int64(len(p)) > w.off+int64(len(w.buf)) {
		if w.mem == nil {
			w.mem = make([]byte, windowLen)
		}
		n, err := w.f.ReadAt(w.mem, off)
		if err != nil && !errors.Is(err, io.EOF) {
			w.buf = nil
			return 0, err
		}
		w.off, w.buf = off, w.mem[:n]
	}
	n := copy(p, w.buf[min(off-w.off, int64(len(w.buf))):])
	if n < len(p) {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}
