package fsformat

import (
	"errors"
	"io"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Tail says what stands behind the last finished transaction.
type Tail int

const (
	NoTail      Tail = iota // nothing, or: there is a transaction
	VotedTail               // a transaction that may be finished or aborted
	PartialTail             // bytes that are not a transaction, maybe not yet
)

// Entry is what a transaction says about an object: the place of its record.
type Entry struct {
	Oid  zodb.Oid
	Pos  int64
	Prev int64 // position of the one before it, 0 if there is none
}

// Scanner reads transactions of a file that was seen to be Size bytes long. Its errors
// are *DamageError, or those of the operating system.
type Scanner struct {
	F    io.ReaderAt
	Size int64

	ahead   window
	header  [TxnSize]byte
	cursor  Cursor // reads ahead
	entries []Entry
}

// NewScanner returns a scanner of f.
func NewScanner(f io.ReaderAt, size int64) *Scanner {
	s := &Scanner{F: f, Size: size, ahead: window{f: f}}
	s.cursor.F = s
	return s
}

// ReadAt implements io.ReaderAt: it reads the file ahead in pieces. The bytes may have
// been read before.
func (s *Scanner) ReadAt(p []byte, off int64) (int, error) { return s.ahead.ReadAt(p, off) }

// Next looks at the transaction at pos, which must come after tid last. It returns the
// transaction, or what the tail is. The error is io.EOF at the end of the file.
func (s *Scanner) Next(pos int64, last zodb.Tid) (t Txn, tail Tail, err error) {
	if pos == s.Size {
		return Txn{}, NoTail, io.EOF
	}
	tail, err = s.readHeader(pos)
	if tail != NoTail || err != nil {
		return Txn{}, tail, err
	}
	t = DecodeTxn(pos, s.header[:])
	if !t.Plausible() || t.Size > s.Size-pos {
		return Txn{}, PartialTail, s.CheckNothingFollows(pos, last)
	}
	if t.Tid <= last {
		return Txn{}, NoTail, DamagedTxn(pos, "its tid %s is not after that of the previous one, %s", t.Tid, last)
	}
	return t, NoTail, nil
}

// CheckVotedIsLast checks that nothing follows the transaction at pos, which was voted and
// not finished: a writer finishes it or cuts it off before it goes on. It may have been
// finished meanwhile.
func (s *Scanner) CheckVotedIsLast(pos int64, last zodb.Tid) error {
	t, err := s.Txn(pos)
	if err != nil || t.End() > s.Size-TxnSize {
		return nil
	}
	next, err := s.Txn(t.End())
	if err != nil || !next.Plausible() || next.Tid <= max(t.Tid, last) || next.End() > s.Size {
		return nil
	}
	if t, err := s.Txn(pos); err != nil || t.Status != StatusVoted {
		return nil
	}
	return DamagedTxn(pos, "its status says that it is not finished, and behind it there is more")
}

// NextFinished is Next where all up to Size is known to be finished transactions: there a
// tail is damage.
func (s *Scanner) NextFinished(pos int64, last zodb.Tid) (Txn, error) {
	t, tail, err := s.Next(pos, last)
	if err == nil && tail != NoTail {
		err = DamagedTxn(pos, "it was finished, and is not any more")
	}
	return t, err
}

// Txn reads a header as it stands there now.
func (s *Scanner) Txn(pos int64) (Txn, error) {
	if _, err := s.F.ReadAt(s.header[:], pos); err != nil {
		return Txn{}, AsDamage(pos, err)
	}
	return DecodeTxn(pos, s.header[:]), nil
}

// readHeader reads the header at pos, which is not the end of the file. The
// status is read before, by itself: if it says that the transaction is
// finished, then what is read afterwards is final.
func (s *Scanner) readHeader(pos int64) (Tail, error) {
	if s.Size-pos < TxnSize {
		return PartialTail, nil
	}
	status := s.header[:1]
	if _, err := s.F.ReadAt(status, pos+StatusOff); err != nil {
		return shortIsPartial(err)
	}
	if status[0] == StatusVoted {
		return VotedTail, nil
	}
	seen := status[0]
	for range 2 {
		if _, err := s.ReadAt(s.header[:], pos); err != nil {
			return shortIsPartial(err)
		}
		if s.header[StatusOff] == seen {
			return NoTail, nil
		}
		s.ahead.reset() // it was filled before the status was set
	}
	return PartialTail, nil // is being changed right now
}

// shortIsPartial turns a file that ends early, as it is after an abort, into a
// tail to look at again.
func shortIsPartial(err error) (Tail, error) {
	if isShort(err) {
		return PartialTail, nil
	}
	return NoTail, err
}

// CheckNothingFollows tells garbage at the end of the file, which a writer
// cuts off, from damage in the middle, behind which there is more: then the
// last bytes of the file are the length of a transaction that starts at pos or
// later.
func (s *Scanner) CheckNothingFollows(pos int64, last zodb.Tid) error {
	var t Txn
	start, err := s.startOf(s.Size, pos)
	if err == nil {
		t, err = s.Txn(start)
	}
	switch {
	case IsDamage(err), err == nil && (t.End() != s.Size || t.Status == StatusVoted):
		return nil
	case err != nil:
		return err
	case start == pos:
		return DamagedTxn(pos, "its header is wrong: tid %s, status %q, strings of %d bytes in a record of %d",
			t.Tid, t.Status, t.User+t.Desc+t.Ext, t.Size)
	case !t.Plausible() || t.Tid <= last:
		return nil
	}
	return DamagedTxn(pos, "its header is wrong, and behind it there is more, up to a transaction at position %d", start)
}

// startOf returns where the transaction that ends at end begins, as far as its trailer
// tells. The beginning must be at from or later.
func (s *Scanner) startOf(end, from int64) (int64, error) {
	if end-TrailerSize < from+TxnSize {
		return 0, DamagedTxn(end, "nothing can end here")
	}
	if _, err := s.F.ReadAt(s.header[:TrailerSize], end-TrailerSize); err != nil {
		return 0, AsDamage(end, err)
	}
	length := DecodeNumber(s.header[:])
	if length < TxnSize || length > end-TrailerSize-from {
		return 0, DamagedTxn(end, "the length in front of it, %d, is wrong", uint64(length))
	}
	return end - TrailerSize - length, nil
}

// Before returns the finished transaction that ends at end.
func (s *Scanner) Before(end int64) (Txn, error) {
	pos, err := s.startOf(end, FirstTxnPos)
	if err != nil {
		return Txn{}, err
	}
	t, err := s.NextFinished(pos, 0)
	if err == nil && t.End() != end {
		err = DamagedTxn(pos, "is not a finished transaction that ends at position %d", end)
	}
	return t, err
}

// Boundary returns the first position behind pos at which a transaction begins, as far as
// the lengths behind transactions lead there from end. It returns end if they do not lead
// further, and 0 if that is none.
func (s *Scanner) Boundary(pos, end int64) (at int64, err error) {
	for end > pos {
		start, err := s.startOf(end, pos)
		if err == nil && start == pos {
			return end, nil
		}
		var t Txn
		if err == nil {
			t, err = s.Txn(start)
		}
		switch {
		case IsDamage(err), err == nil && (!t.Plausible() || t.End() != end):
			return at, nil
		case err != nil:
			return at, err
		}
		at, end = start, start
	}
	return at, nil
}

// Records returns where the records of t are, in the order of the file. All of
// them, and the trailer, are checked. The slice is valid until the next call.
func (s *Scanner) Records(t *Txn) ([]Entry, error) {
	s.entries = s.entries[:0]
	pos := t.DataPos()
	if t.Status == StatusUndone {
		pos = t.DataEnd()
	}
	for ; pos < t.DataEnd(); pos = s.cursor.End() {
		if err := s.checkRecord(t, pos); err != nil {
			return nil, err
		}
		s.entries = append(s.entries, Entry{s.cursor.Oid, pos, s.cursor.Prev})
	}
	if _, err := s.ReadAt(s.header[:TrailerSize], t.DataEnd()); err != nil {
		return nil, AsDamage(t.Pos, err)
	}
	if length := DecodeNumber(s.header[:]); length != t.Length() {
		return nil, DamagedTxn(t.Pos, "its length is %d in front and %d behind", t.Length(), uint64(length))
	}
	return s.entries, nil
}

// checkRecord moves the cursor to the data record at pos, and checks that it is one of t.
func (s *Scanner) checkRecord(t *Txn, pos int64) error {
	if t.DataEnd()-pos < RecordSize {
		return DamagedRecord(pos, "does not fit into its transaction")
	}
	c := &s.cursor
	if err := c.Load(pos); err != nil {
		return err
	}
	switch {
	case c.Tid != t.Tid:
		return DamagedRecord(pos, "has tid %s in the transaction %s", c.Tid, t.Tid)
	case c.Txn != t.Pos:
		return DamagedRecord(pos, "points to a transaction at position %d instead of %d", c.Txn, t.Pos)
	case c.End() > t.DataEnd():
		return DamagedRecord(pos, "its %d bytes of data do not fit into its transaction", c.DataLen)
	}
	if c.DataLen == 0 {
		_, err := c.Back()
		return err
	}
	return nil
}

// window reads a file ahead in pieces, for headers that follow each other.
type window struct {
	f   io.ReaderAt
	off int64
	buf []byte // valid bytes at off
	mem []byte
}

const windowSize = 64 << 10

func (w *window) reset() { w.buf = nil }

// ReadAt implements io.ReaderAt.
func (w *window) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > windowSize/2 {
		return w.f.ReadAt(p, off)
	}
	if off < w.off || off+int64(len(p)) > w.off+int64(len(w.buf)) {
		if err := w.fill(off); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.buf[min(off-w.off, int64(len(w.buf))):])
	if n < len(p) {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}

func (w *window) fill(off int64) error {
	if w.mem == nil {
		w.mem = make([]byte, windowSize)
	}
	n, err := w.f.ReadAt(w.mem, off)
	if err != nil && !errors.Is(err, io.EOF) {
		w.reset()
		return err
	}
	w.off, w.buf = off, w.mem[:n]
	return nil
}
