package fs1

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"
)

const (
	firstTxnPos  = fsfmt.FileHeaderSize
	firstDataPos = firstTxnPos + fsfmt.TxnHeaderFixSize
	trailerSize  = 8 // copy of the length behind each transaction
)

// Status bytes of a transaction record.
const (
	statusComplete = ' '
	statusPacked   = 'p'
	statusVoted    = 'c'
	statusUndone   = 'u' // its data must be skipped
)

// damageError says that what stands at pos cannot be right, and that it is not
// a matter of waiting.
type damageError struct {
	pos    int64
	record string // "transaction" or "data record"
	what   string
}

func (e *damageError) Error() string {
	return fmt.Sprintf("%s at position %d: %s", e.record, e.pos, e.what)
}

func damagedTxn(pos int64, format string, args ...any) error {
	return &damageError{pos, "transaction", fmt.Sprintf(format, args...)}
}

func damagedRecord(pos int64, format string, args ...any) error {
	return &damageError{pos, "data record", fmt.Sprintf(format, args...)}
}

// asDamage sorts an error of the format library: errors of the operating
// system stay what they are, everything else concerns the content.
func asDamage(pos int64, err error) error {
	var sys *fs.PathError
	var known *damageError
	if err == nil || errors.As(err, &sys) || errors.As(err, &known) || errors.Is(err, fs.ErrClosed) {
		return err
	}
	what := err
	for rec := (*fsfmt.RecordError)(nil); errors.As(what, &rec); what = rec.Err {
		pos = max(pos, rec.Pos) // it is -1 where the record could not be read
	}
	return &damageError{pos, "data record", what.Error()}
}

// txn is a transaction record whose header and length are plausible.
type txn struct {
	pos     int64
	size    int64 // whole record with its trailer
	dataPos int64
	tid     zodb.Tid
	status  byte
	user    int // lengths of the strings
	desc    int
	ext     int
}

func (t *txn) end() int64     { return t.pos + t.size }
func (t *txn) dataEnd() int64 { return t.pos + t.size - trailerSize }

// entry is what a transaction says about an object: the place of its record.
type entry struct {
	oid  zodb.Oid
	pos  int64
	prev int64 // position of the one before it, 0 if there is none

	// vague is set if more than one bit is wrong in it: then oid may be, too, unless
	// prev tells that it is not.
	vague bool
}

// tail says what stands behind the last finished transaction.
type tail int

const (
	tailNone    tail = iota // nothing, or: there is a transaction
	tailVoted               // a transaction that may be finished or aborted
	tailPartial             // bytes that are not a transaction, maybe not yet
)

// scanner reads transaction records of a file that was seen to be size bytes
// long. It is for one goroutine.
type scanner struct {
	f       io.ReaderAt
	size    int64
	win     window
	header  [fsfmt.TxnHeaderFixSize]byte
	dh      fsfmt.DataHeader
	entries []entry
}

func newScanner(f io.ReaderAt, size int64) *scanner {
	return &scanner{f: f, size: size, win: window{f: f}}
}

// next looks at the transaction at pos, which must come after tid last. It
// returns the transaction, or what the tail is. An error is a *damageError or
// one of the operating system.
func (s *scanner) next(pos int64, last zodb.Tid) (t txn, tl tail, err error) {
	if pos == s.size {
		return txn{}, tailNone, io.EOF
	}
	tl, err = s.readHeader(pos)
	if tl != tailNone || err != nil {
		return txn{}, tl, err
	}
	t = decodeTxn(pos, &s.header)
	if !t.plausible() {
		return txn{}, tailPartial, s.checkNothingFollows(pos, last)
	}
	if t.size > s.size-pos {
		return txn{}, tailPartial, s.checkNothingFollows(pos, last)
	}
	if t.tid <= last {
		return txn{}, tailNone, damagedTxn(pos, "its tid %s is not after that of the previous one, %s", t.tid, last)
	}
	return t, tailNone, nil
}

// checkVotedIsLast checks that nothing follows the transaction at pos, which was voted and
// not finished: a writer finishes it or cuts it off before it goes on. It may have been
// finished meanwhile.
func (s *scanner) checkVotedIsLast(pos int64, last zodb.Tid) error {
	var b [fsfmt.TxnHeaderFixSize]byte
	read := func(pos int64) (txn, bool) {
		_, err := s.f.ReadAt(b[:], pos)
		return decodeTxn(pos, &b), err == nil
	}
	t, ok := read(pos)
	if !ok || t.end() > s.size-fsfmt.TxnHeaderFixSize {
		return nil
	}
	next, ok := read(t.end())
	if !ok || !next.plausible() || next.tid <= max(t.tid, last) || next.end() > s.size {
		return nil
	}
	if t, ok := read(pos); !ok || t.status != statusVoted {
		return nil
	}
	return damagedTxn(pos, "its status says that it is not finished, and behind it there is more")
}

// nextFinished is next where all up to s.size is known to be finished
// transactions: there a tail is damage.
func (s *scanner) nextFinished(pos int64, last zodb.Tid) (txn, error) {
	t, tl, err := s.next(pos, last)
	if err == nil && tl != tailNone {
		err = damagedTxn(pos, "it was finished, and is not any more")
	}
	return t, err
}

// readHeader reads the header at pos, which is not the end of the file. The
// status is read before, by itself: if it says that the transaction is
// finished, then what is read afterwards is final.
func (s *scanner) readHeader(pos int64) (tail, error) {
	if s.size-pos < fsfmt.TxnHeaderFixSize {
		return tailPartial, nil
	}
	status := s.header[:1]
	if _, err := s.f.ReadAt(status, pos+16); err != nil {
		return shortIsPartial(err)
	}
	if status[0] == statusVoted {
		return tailVoted, nil
	}
	seen := status[0]
	for range 2 {
		if _, err := s.win.ReadAt(s.header[:], pos); err != nil {
			return shortIsPartial(err)
		}
		if s.header[16] == seen {
			return tailNone, nil
		}
		s.win.reset() // it was filled before the status was set
	}
	return tailPartial, nil // is being changed right now
}

// shortIsPartial turns a file that ends early, as it is after an abort, into a
// tail to look at again.
func shortIsPartial(err error) (tail, error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return tailPartial, nil
	}
	return tailNone, err
}

func decodeTxn(pos int64, h *[fsfmt.TxnHeaderFixSize]byte) txn {
	be := binary.BigEndian
	t := txn{
		pos:    pos,
		tid:    zodb.Tid(be.Uint64(h[0:])),
		size:   trailerSize + int64(min(be.Uint64(h[8:]), 1<<62)),
		status: h[16],
		user:   int(be.Uint16(h[17:])),
		desc:   int(be.Uint16(h[19:])),
		ext:    int(be.Uint16(h[21:])),
	}
	t.dataPos = pos + fsfmt.TxnHeaderFixSize + int64(t.user+t.desc+t.ext)
	return t
}

func (t *txn) plausible() bool {
	switch t.status {
	case statusComplete, statusPacked, statusUndone:
		return t.tid.Valid() && t.dataPos <= t.dataEnd()
	}
	return false
}

// checkNothingFollows tells garbage at the end of the file, which a writer
// cuts off, from damage in the middle, behind which there is more: then the
// last bytes of the file are the length of a transaction that starts at pos or
// later.
func (s *scanner) checkNothingFollows(pos int64, last zodb.Tid) error {
	var b [fsfmt.TxnHeaderFixSize]byte
	if _, err := s.f.ReadAt(b[:8], s.size-8); err != nil {
		_, err = shortIsPartial(err)
		return err
	}
	length := binary.BigEndian.Uint64(b[:8])
	if length < fsfmt.TxnHeaderFixSize || length > uint64(s.size-8-pos) {
		return nil
	}
	start := s.size - 8 - int64(length)
	if _, err := s.f.ReadAt(b[:], start); err != nil {
		_, err = shortIsPartial(err)
		return err
	}
	t := decodeTxn(start, &b)
	switch {
	case t.end() != s.size || b[16] == statusVoted:
		return nil
	case start == pos:
		return damagedTxn(pos, "its header is wrong: tid %s, status %q, strings of %d bytes in a record of %d",
			t.tid, t.status, t.user+t.desc+t.ext, t.size)
	case !t.plausible() || t.tid <= last:
		return nil
	}
	return damagedTxn(pos, "its header is wrong, and behind it there is more, up to a transaction at position %d", start)
}

// records returns where the records of t are, in the order of the file. All of
// them, and the trailer, are checked. The slice is valid until the next call.
// Errors are like those of next.
func (s *scanner) records(t *txn) ([]entry, error) {
	s.entries = s.entries[:0]
	pos := t.dataPos
	if t.status == statusUndone {
		pos = t.dataEnd()
	}
	for pos < t.dataEnd() {
		if err := s.checkRecord(t, pos); err != nil {
			return nil, asDamage(pos, err)
		}
		s.entries = append(s.entries, entry{oid: s.dh.Oid, pos: pos, prev: s.dh.PrevRevPos})
		pos += s.dh.Len()
	}
	var b [trailerSize]byte
	if _, err := s.win.ReadAt(b[:], t.dataEnd()); err != nil {
		return nil, asDamage(t.pos, err)
	}
	if length := binary.BigEndian.Uint64(b[:]); length != uint64(t.size-trailerSize) {
		return nil, damagedTxn(t.pos, "its length is %d in front and %d behind", t.size-trailerSize, length)
	}
	return s.entries, nil
}

// checkRecord loads the data record at pos into s.dh and checks that it is one
// of t.
func (s *scanner) checkRecord(t *txn, pos int64) error {
	if t.dataEnd()-pos < fsfmt.DataHeaderSize {
		return damagedRecord(pos, "does not fit into its transaction")
	}
	if err := s.dh.Load(&s.win, pos); err != nil {
		return err
	}
	switch {
	case s.dh.Tid != t.tid:
		return damagedRecord(pos, "has tid %s in the transaction %s", s.dh.Tid, t.tid)
	case s.dh.TxnPos != t.pos:
		return damagedRecord(pos, "points to a transaction at position %d instead of %d", s.dh.TxnPos, t.pos)
	case s.dh.DataLen > t.dataEnd()-pos-fsfmt.DataHeaderSize || pos+s.dh.Len() > t.dataEnd():
		return damagedRecord(pos, "its %d bytes of data do not fit into its transaction", s.dh.DataLen)
	}
	if s.dh.DataLen == 0 {
		_, err := s.dh.LoadBackRef(&s.win)
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
