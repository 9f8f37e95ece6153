package fs1

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"
)

// survey is what can be told about a transaction that is damaged.
type survey struct {
	txn
	entries []entry
	bad     map[int64]error // records that are damaged, and why
	lost    bool            // there may be records of objects that nobody can tell
	why     *damageError    // the first damage
}

// position tells where the newest record of an object was before a transaction, 0
// if there was none.
type position func(oid zodb.Oid) int64

// rawHeader is a record header as it stands there.
type rawHeader struct {
	oid        zodb.Oid
	tid        zodb.Tid
	prev, tloc uint64
	version    uint16
	dataLen    uint64
}

func decodeRecord(b []byte) rawHeader {
	be := binary.BigEndian
	return rawHeader{zodb.Oid(be.Uint64(b)), zodb.Tid(be.Uint64(b[8:])), be.Uint64(b[16:]), be.Uint64(b[24:]),
		be.Uint16(b[32:]), be.Uint64(b[34:])}
}

func (h *rawHeader) len() uint64 {
	if h.dataLen == 0 {
		return fsfmt.DataHeaderSize + 8
	}
	return fsfmt.DataHeaderSize + min(h.dataLen, 1<<62)
}

// surveyor looks at one damaged transaction.
type surveyor struct {
	*survey
	s     *scanner
	known position // may be nil
	limit int64    // the data ends there, or before if the length is not known
	sure  bool     // limit is where the data ends
	last  zodb.Tid // of the transaction in front
	first int64    // position of the first record
}

// survey finds out what can be told about the transaction at pos, which next or
// records have refused. All is there twice: the length stands in front and behind,
// the tid and the position in each record, and what object a record is of follows from
// the pointer to the previous record of that. known may be nil.
//
// The error is a *damageError if the end of the transaction is not found, or one of
// the operating system.
func (s *scanner) survey(pos int64, last zodb.Tid, known position) (*survey, error) {
	var b [fsfmt.TxnHeaderFixSize]byte
	if _, err := s.f.ReadAt(b[:], pos); err != nil {
		return nil, asDamage(pos, err)
	}
	sv := &surveyor{survey: &survey{txn: decodeTxn(pos, &b), bad: make(map[int64]error)}, s: s, known: known, last: last}
	switch {
	case b[16] == statusVoted:
		return nil, damagedTxn(pos, "it is not finished")
	case b[16] == statusUndone:
		return nil, damagedTxn(pos, "it is marked as undone")
	}
	sv.limit = s.size - trailerSize
	if e := sv.dataEnd(); e > pos && e <= sv.limit && sv.isEnd(e) {
		sv.limit, sv.sure = e, true
	}
	if err := sv.findFirst(); err != nil {
		return nil, err
	}
	if err := sv.findTid(); err != nil {
		return nil, err
	}
	if err := sv.walk(); err != nil {
		return nil, err
	}
	if sv.tid <= last || !sv.tid.Valid() {
		return nil, damagedTxn(pos, "its tid %s is not after that of the previous one, %s", sv.tid, last)
	}
	if length := sv.size - trailerSize; uint64(length) != binary.BigEndian.Uint64(b[8:]) {
		sv.note(damagedTxn(pos, "the length in its header is wrong: it is %d", length))
	}
	if tail := sv.u64(sv.dataEnd()); tail != uint64(sv.size-trailerSize) {
		sv.note(damagedTxn(pos, "its length is %d in front and %d behind", sv.size-trailerSize, tail))
	}
	if b[16] != statusComplete && b[16] != statusPacked {
		sv.note(damagedTxn(pos, "its status is %q", b[16]))
	}
	return sv.survey, nil
}

// note keeps the first damage.
func (sv *survey) note(err error) {
	var damage *damageError
	if sv.why == nil && errors.As(err, &damage) {
		sv.why = damage
	}
}

// u64 reads a number; 0 if there is none.
func (sv *surveyor) u64(pos int64) uint64 {
	var b [8]byte
	if _, err := sv.s.win.ReadAt(b[:], pos); err != nil {
		return 0
	}
	return binary.BigEndian.Uint64(b[:])
}

func (sv *surveyor) record(pos int64) (rawHeader, bool) {
	var b [fsfmt.DataHeaderSize]byte
	if pos+fsfmt.DataHeaderSize > sv.limit {
		return rawHeader{}, false
	}
	if _, err := sv.s.win.ReadAt(b[:], pos); err != nil {
		return rawHeader{}, false
	}
	return decodeRecord(b[:]), true
}

// isEnd reports whether the length behind the transaction says that its data ends at e.
func (sv *surveyor) isEnd(e int64) bool { return sv.u64(e) == uint64(e-sv.pos) }

// followed reports whether a transaction could end with data up to e, as far as what
// follows tells.
func (sv *surveyor) followed(e int64) bool {
	next := e + trailerSize
	if next == sv.s.size {
		return true
	}
	var b [fsfmt.TxnHeaderFixSize]byte
	if _, err := sv.s.win.ReadAt(b[:], next); err != nil {
		return next < sv.s.size // a short tail
	}
	t := decodeTxn(next, &b)
	return t.status == statusVoted || t.plausible() && t.tid > sv.last
}

// maxStrings is how long user, description and extension are together at most.
const maxStrings = 3 * (1<<16 - 1)

// findFirst finds the first record. The lengths of the strings may be damaged.
func (sv *surveyor) findFirst() error {
	sv.first = sv.dataPos
	if h, ok := sv.record(sv.dataPos); ok && (h.tloc == uint64(sv.pos) || sv.plausibleTid(h.tid)) {
		return nil
	}
	if sv.sure && sv.dataPos == sv.limit {
		return nil // it has none
	}
	from := sv.pos + fsfmt.TxnHeaderFixSize
	pos, err := sv.search(from, min(sv.limit, from+maxStrings), func(h rawHeader, at int64) bool {
		return at <= sv.limit-fsfmt.DataHeaderSize && h.tloc == uint64(sv.pos) && h.version == 0 && h.prev < uint64(sv.pos)
	})
	if err != nil {
		return err
	}
	if pos < 0 {
		if !sv.sure {
			return damagedTxn(sv.pos, "its header is wrong, and no record of it is found")
		}
		sv.first, sv.lost = sv.limit, true
		sv.note(damagedTxn(sv.pos, "no record of it is found"))
		return nil
	}
	// One wrong bit changes one length, by a power of two. Else it may be that there
	// was a record in front.
	diff := max(pos-sv.dataPos, sv.dataPos-pos)
	if bits.OnesCount64(uint64(diff)) != 1 || diff >= 1<<16 {
		sv.lost = true
	}
	sv.note(damagedTxn(sv.pos, "the lengths of its strings are wrong"))
	sv.first, sv.dataPos = pos, pos
	sv.user, sv.desc, sv.ext = 0, 0, 0 // nobody can tell where they end
	return nil
}

func (sv *surveyor) plausibleTid(tid zodb.Tid) bool { return tid == sv.tid && tid > 0 }

// findTid finds the tid if header and first record do not agree. The second record
// decides; or what follows does.
func (sv *surveyor) findTid() error {
	h, ok := sv.record(sv.first)
	if !ok || h.tid == sv.tid {
		return nil
	}
	second, ok := sv.record(sv.first + int64(h.len()))
	if ok && second.tloc == uint64(sv.pos) && (second.tid == sv.tid || second.tid == h.tid) {
		if second.tid == h.tid {
			sv.note(damagedTxn(sv.pos, "its tid is %s, its records have %s", sv.tid, h.tid))
		}
		sv.tid = second.tid
		return nil
	}
	sv.note(damagedTxn(sv.pos, "its tid is %s, its record has %s", sv.tid, h.tid))
	sv.bad[sv.first] = damagedRecord(sv.first, "has tid %s in the transaction %s", h.tid, sv.tid)
	next := zodb.TidMax
	if at := sv.first + int64(h.len()) + trailerSize; at > 0 && at+trailerSize < sv.s.size {
		next = min(next, zodb.Tid(sv.u64(at)))
	}
	if sv.tid <= sv.last || !sv.tid.Valid() || sv.tid >= next && h.tid > sv.last && h.tid < next {
		sv.tid = h.tid
	}
	return nil
}

// walk goes through the records and finds the end.
func (sv *surveyor) walk() error {
	pos, prev := sv.first, int64(-1) // prev is the record in front
	resumed := int64(-1)             // where it was gone on last
	for !(sv.sure && pos == sv.limit) {
		h, ok := sv.record(pos)
		if ok && sv.isRecord(&h) {
			if err := sv.wrong(&h, pos); err != nil {
				sv.note(err)
				if sv.bad[pos] == nil {
					sv.bad[pos] = err
				}
			}
			sv.entries = append(sv.entries, entry{oid: h.oid, pos: pos, prev: int64(min(h.prev, 1<<62)), vague: sv.wrongBits(&h) > 1})
			prev, pos = pos, pos+int64(h.len())
			if pos <= sv.limit {
				continue
			}
		} else if !sv.sure && pos <= sv.limit && sv.isEnd(pos) {
			break
		} else if !sv.sure && pos <= sv.limit && pos == sv.dataEnd() && sv.followed(pos) {
			break // as the header says; the length behind is wrong
		}
		next, err := sv.resume(prev, pos)
		switch {
		case err != nil:
			return err
		case resumed >= next:
			return damagedTxn(sv.pos, "it is damaged at position %d, and nothing fits there", next)
		}
		pos, resumed = next, next
	}
	sv.size = pos + trailerSize - sv.pos
	return nil
}

// isRecord reports whether h is a record of this transaction, even if it is damaged.
func (sv *surveyor) isRecord(h *rawHeader) bool {
	return h.tid == sv.tid || h.tloc == uint64(sv.pos) || h.prev != 0 && sv.known != nil && uint64(sv.known(h.oid)) == h.prev
}

// wrong returns what is wrong with a record of this transaction.
func (sv *surveyor) wrong(h *rawHeader, pos int64) error {
	switch {
	case h.tid != sv.tid:
		return damagedRecord(pos, "has tid %s in the transaction %s", h.tid, sv.tid)
	case h.tloc != uint64(sv.pos):
		return damagedRecord(pos, "points to a transaction at position %d instead of %d", int64(h.tloc), sv.pos)
	case h.version != 0:
		return damagedRecord(pos, "has a version of %d bytes", h.version)
	case h.prev != 0 && (h.prev < firstDataPos || h.prev > uint64(sv.pos)-fsfmt.DataHeaderSize):
		return damagedRecord(pos, "points to a previous record at position %d", int64(h.prev))
	}
	return nil
}

// wrongBits counts the bits of a record of this transaction that are wrong for sure.
func (sv *surveyor) wrongBits(h *rawHeader) int {
	n := bits.OnesCount64(uint64(h.tid^sv.tid)) + bits.OnesCount64(h.tloc^uint64(sv.pos)) + bits.OnesCount16(h.version)
	if h.prev > uint64(sv.pos) {
		n++
	}
	return n
}

// resume finds out where to go on when there is no record at pos, where the one at
// prev ends as its length says. Is that wrong, or are there records that are lost?
func (sv *surveyor) resume(prev, pos int64) (int64, error) {
	from := pos
	if prev >= 0 {
		from = prev + fsfmt.DataHeaderSize
	}
	next, err := sv.search(from, sv.limit, func(h rawHeader, at int64) bool {
		return h.tid == sv.tid && h.tloc == uint64(sv.pos) && h.version == 0 && at <= sv.limit-fsfmt.DataHeaderSize ||
			!sv.sure && uint64(h.oid) == uint64(at-sv.pos) && sv.followed(at)
	})
	switch {
	case err != nil:
		return 0, err
	case next < 0 && sv.sure:
		next = sv.limit
	case next < 0 && sv.isEnd(sv.limit):
		next = sv.limit
	case next < 0:
		return 0, damagedTxn(sv.pos, "it is damaged at position %d, and its end is not found", pos)
	}
	data := prev + fsfmt.DataHeaderSize
	switch {
	case prev >= 0 && (next-data < fsfmt.DataHeaderSize || sv.almost(prev, next-data) && fills(sv.s.f, data, next)):
		err = damagedRecord(prev, "the length of its data is wrong")
	case prev >= 0 && pos <= next && fills(sv.s.f, data, pos):
		sv.lost = true
		sv.note(damagedRecord(pos, "there is no record where there should be one"))
		return next, nil
	default:
		sv.lost = true
		err = damagedRecord(max(prev, sv.first), "the length of its data is wrong, or records behind it are")
	}
	sv.note(err)
	if prev >= 0 && sv.bad[prev] == nil {
		sv.bad[prev] = err
	}
	return next, nil
}

// almost reports whether one wrong bit makes n the length that the record at pos has.
func (sv *surveyor) almost(pos, n int64) bool {
	h, ok := sv.record(pos)
	return ok && bits.OnesCount64(h.dataLen^uint64(n)) == 1
}

// search returns the first position from a position on, up to a limit, whose header is
// wanted, -1 if there is none. Behind the last header in limit it looks at zeros.
func (sv *surveyor) search(from, limit int64, wanted func(h rawHeader, pos int64) bool) (int64, error) {
	const step = 1 << 20
	buf := make([]byte, step+fsfmt.DataHeaderSize)
	for ; from < limit; from += step {
		n, err := sv.s.f.ReadAt(buf, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("look for the next record: %w", err)
		}
		clear(buf[n:])
		for i := 0; i < step && from+int64(i) < limit; i++ {
			if wanted(decodeRecord(buf[i:]), from+int64(i)) {
				return from + int64(i), nil
			}
		}
	}
	return -1, nil
}

// boundaryBehind returns the first position behind pos at which a transaction begins,
// as far as the lengths behind transactions lead there from an end. It returns the end
// if they do not lead further, and 0 if that is none.
func (s *scanner) boundaryBehind(pos, end int64) (at int64, err error) {
	for end > pos {
		var b [fsfmt.TxnHeaderFixSize]byte
		if _, err := s.f.ReadAt(b[:8], end-trailerSize); err != nil {
			return at, asDamage(end, err)
		}
		length := binary.BigEndian.Uint64(b[:8])
		start := end - trailerSize - int64(min(length, 1<<62))
		if length < fsfmt.TxnHeaderFixSize || start < pos {
			return at, nil
		}
		if start == pos {
			return end, nil
		}
		if _, err := s.f.ReadAt(b[:], start); err != nil {
			return at, asDamage(start, err)
		}
		if t := decodeTxn(start, &b); !t.plausible() || t.end() != end {
			return at, nil
		}
		at, end = start, start
	}
	return at, nil
}
