package fs1

import (
	"errors"
	"fmt"
	"io"
	"math/bits"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
)

// survey is what can be told about a transaction that is damaged.
type survey struct {
	fsformat.Txn
	entries []fsformat.Entry
	bad     map[int64]error       // records that are damaged, and why
	vague   map[int64]bool        // those of which the object may be wrong, too, unless the record before tells that it is not
	lost    bool                  // there may be records of objects that nobody can tell
	why     *fsformat.DamageError // the first damage
}

// position tells where the newest record of an object was before a transaction, 0
// if there was none.
type position func(oid zodb.Oid) int64

// surveyor looks at one damaged transaction.
type surveyor struct {
	*survey
	s     *fsformat.Scanner
	at    fsformat.Cursor // of s
	known position        // may be nil
	limit int64           // the data ends there, or before if the length is not known
	sure  bool            // limit is where the data ends
	last  zodb.Tid        // of the transaction in front
	first int64           // position of the first record
}

// takeSurvey finds out what can be told about the transaction at pos, which Next or
// Records have refused. All is there twice: the length stands in front and behind,
// the tid and the position in each record, and what object a record is of follows from
// the pointer to the previous record of that. known may be nil.
//
// The error is a *fsformat.DamageError if the end of the transaction is not found, or one of
// the operating system.
func takeSurvey(s *fsformat.Scanner, pos int64, last zodb.Tid, known position) (*survey, error) {
	header, err := s.Txn(pos)
	if err != nil {
		return nil, err
	}
	sv := &surveyor{
		survey: &survey{Txn: header, bad: make(map[int64]error), vague: make(map[int64]bool)},
		s:      s,
		at:     fsformat.Cursor{F: s},
		known:  known,
		limit:  s.Size - fsformat.TrailerSize,
		last:   last,
	}
	switch header.Status {
	case fsformat.StatusVoted:
		return nil, fsformat.DamagedTxn(pos, "it is not finished")
	case fsformat.StatusUndone:
		return nil, fsformat.DamagedTxn(pos, "it is marked as undone")
	}
	if e := sv.DataEnd(); e > pos && e <= sv.limit && sv.isEnd(e) {
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
	if sv.Tid <= last || !sv.Tid.Valid() {
		return nil, fsformat.DamagedTxn(pos, "its tid %s is not after that of the previous one, %s", sv.Tid, last)
	}
	if sv.Size != header.Size {
		sv.note(fsformat.DamagedTxn(pos, "the length in its header is wrong: it is %d", sv.Length()))
	}
	if !sv.isEnd(sv.DataEnd()) {
		sv.note(fsformat.DamagedTxn(pos, "its length is %d in front and %d behind", sv.Length(), uint64(sv.number(sv.DataEnd()))))
	}
	if header.Status != fsformat.StatusComplete && header.Status != fsformat.StatusPacked {
		sv.note(fsformat.DamagedTxn(pos, "its status is %q", header.Status))
	}
	return sv.survey, nil
}

// note keeps the first damage.
func (sv *survey) note(err error) {
	var damage *fsformat.DamageError
	if sv.why == nil && errors.As(err, &damage) {
		sv.why = damage
	}
}

// number reads a number; 0 if there is none.
func (sv *surveyor) number(pos int64) int64 {
	n, _ := sv.at.Number(pos)
	return n
}

func (sv *surveyor) record(pos int64) (fsformat.Record, bool) {
	if pos+fsformat.RecordSize > sv.limit {
		return fsformat.Record{}, false
	}
	h, err := sv.at.Peek(pos)
	return h, err == nil
}

// isEnd reports whether the length behind the transaction says that its data ends at e.
func (sv *surveyor) isEnd(e int64) bool { return sv.number(e) == e-sv.Pos }

// followed reports whether a transaction could end with data up to e, as far as what
// follows tells.
func (sv *surveyor) followed(e int64) bool {
	next := e + fsformat.TrailerSize
	if next == sv.s.Size {
		return true
	}
	t, err := sv.s.Txn(next)
	if err != nil {
		return next < sv.s.Size // a short tail
	}
	return t.Status == fsformat.StatusVoted || t.Plausible() && t.Tid > sv.last
}

// maxStrings is how long user, description and extension are together at most.
const maxStrings = 3 * (1<<16 - 1)

// findFirst finds the first record. The lengths of the strings may be damaged.
func (sv *surveyor) findFirst() error {
	sv.first = sv.DataPos()
	if h, ok := sv.record(sv.first); ok && (h.Txn == sv.Pos || sv.plausibleTid(h.Tid)) {
		return nil
	}
	if sv.sure && sv.first == sv.limit {
		return nil // it has none
	}
	from := sv.StringsPos()
	pos, err := sv.search(from, min(sv.limit, from+maxStrings), func(h fsformat.Record) bool {
		return h.DataPos() <= sv.limit && h.Txn == sv.Pos && h.Version == 0 && uint64(h.Prev) < uint64(sv.Pos)
	})
	if err != nil {
		return err
	}
	if pos < 0 {
		if !sv.sure {
			return fsformat.DamagedTxn(sv.Pos, "its header is wrong, and no record of it is found")
		}
		sv.first, sv.lost = sv.limit, true
		sv.note(fsformat.DamagedTxn(sv.Pos, "no record of it is found"))
		return nil
	}
	// One wrong bit changes one length, by a power of two. Else it may be that there
	// was a record in front.
	diff := max(pos-sv.first, sv.first-pos)
	if bits.OnesCount64(uint64(diff)) != 1 || diff >= 1<<16 {
		sv.lost = true
	}
	sv.note(fsformat.DamagedTxn(sv.Pos, "the lengths of its strings are wrong"))
	sv.first = pos
	sv.User, sv.Desc, sv.Ext = 0, 0, 0 // nobody can tell where they end
	return nil
}

func (sv *surveyor) plausibleTid(tid zodb.Tid) bool { return tid == sv.Tid && tid > 0 }

// findTid finds the tid if header and first record do not agree. The second record
// decides; or what follows does.
func (sv *surveyor) findTid() error {
	h, ok := sv.record(sv.first)
	if !ok || h.Tid == sv.Tid {
		return nil
	}
	second, ok := sv.record(h.End())
	if ok && second.Txn == sv.Pos && (second.Tid == sv.Tid || second.Tid == h.Tid) {
		if second.Tid == h.Tid {
			sv.note(fsformat.DamagedTxn(sv.Pos, "its tid is %s, its records have %s", sv.Tid, h.Tid))
		}
		sv.Tid = second.Tid
		return nil
	}
	sv.note(fsformat.DamagedTxn(sv.Pos, "its tid is %s, its record has %s", sv.Tid, h.Tid))
	sv.bad[sv.first] = fsformat.DamagedRecord(sv.first, "has tid %s in the transaction %s", h.Tid, sv.Tid)
	next := zodb.TidMax
	if at := h.End() + fsformat.TrailerSize; at > 0 && at+fsformat.TrailerSize < sv.s.Size {
		next = min(next, zodb.Tid(sv.number(at)))
	}
	if sv.Tid <= sv.last || !sv.Tid.Valid() || sv.Tid >= next && h.Tid > sv.last && h.Tid < next {
		sv.Tid = h.Tid
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
			if err := sv.wrong(&h); err != nil {
				sv.note(err)
				if sv.bad[pos] == nil {
					sv.bad[pos] = err
				}
			}
			sv.entries = append(sv.entries, fsformat.Entry{Oid: h.Oid, Pos: pos, Prev: h.Prev})
			if sv.wrongBits(&h) > 1 {
				sv.vague[pos] = true
			}
			prev, pos = pos, h.End()
			if pos <= sv.limit {
				continue
			}
		} else if !sv.sure && pos <= sv.limit && sv.isEnd(pos) {
			break
		} else if !sv.sure && pos <= sv.limit && pos == sv.DataEnd() && sv.followed(pos) {
			break // as the header says; the length behind is wrong
		}
		next, err := sv.resume(prev, pos)
		switch {
		case err != nil:
			return err
		case resumed >= next:
			return fsformat.DamagedTxn(sv.Pos, "it is damaged at position %d, and nothing fits there", next)
		}
		pos, resumed = next, next
	}
	sv.Size = pos + fsformat.TrailerSize - sv.Pos
	return nil
}

// isRecord reports whether h is a record of this transaction, even if it is damaged.
func (sv *surveyor) isRecord(h *fsformat.Record) bool {
	return h.Tid == sv.Tid || h.Txn == sv.Pos || h.Prev != 0 && sv.known != nil && sv.known(h.Oid) == h.Prev
}

// wrong returns what is wrong with a record of this transaction.
func (sv *surveyor) wrong(h *fsformat.Record) error {
	switch {
	case h.Tid != sv.Tid:
		return fsformat.DamagedRecord(h.Pos, "has tid %s in the transaction %s", h.Tid, sv.Tid)
	case h.Txn != sv.Pos:
		return fsformat.DamagedRecord(h.Pos, "points to a transaction at position %d instead of %d", h.Txn, sv.Pos)
	case h.Version != 0:
		return fsformat.DamagedRecord(h.Pos, "has a version of %d bytes", h.Version)
	case h.Prev != 0 && (h.Prev < fsformat.FirstDataPos || h.Prev > sv.Pos-fsformat.RecordSize):
		return fsformat.DamagedRecord(h.Pos, "points to a previous record at position %d", h.Prev)
	}
	return nil
}

// wrongBits counts the bits of a record of this transaction that are wrong for sure.
func (sv *surveyor) wrongBits(h *fsformat.Record) int {
	n := bits.OnesCount64(uint64(h.Tid^sv.Tid)) + bits.OnesCount64(uint64(h.Txn^sv.Pos)) + bits.OnesCount16(h.Version)
	if uint64(h.Prev) > uint64(sv.Pos) {
		n++
	}
	return n
}

// resume finds out where to go on when there is no record at pos, where the one at
// prev ends as its length says. Is that wrong, or are there records that are lost?
func (sv *surveyor) resume(prev, pos int64) (int64, error) {
	from := pos
	if prev >= 0 {
		from = prev + fsformat.RecordSize
	}
	next, err := sv.search(from, sv.limit, func(h fsformat.Record) bool {
		return h.Tid == sv.Tid && h.Txn == sv.Pos && h.Version == 0 && h.DataPos() <= sv.limit ||
			!sv.sure && int64(h.Oid) == h.Pos-sv.Pos && sv.followed(h.Pos)
	})
	switch {
	case err != nil:
		return 0, err
	case next < 0 && sv.sure:
		next = sv.limit
	case next < 0 && sv.isEnd(sv.limit):
		next = sv.limit
	case next < 0:
		return 0, fsformat.DamagedTxn(sv.Pos, "it is damaged at position %d, and its end is not found", pos)
	}
	data := prev + fsformat.RecordSize
	switch {
	case prev >= 0 && (next-data < fsformat.RecordSize || sv.almost(prev, next-data) && fills(sv.s.F, data, next)):
		err = fsformat.DamagedRecord(prev, "the length of its data is wrong")
	case prev >= 0 && pos <= next && fills(sv.s.F, data, pos):
		sv.lost = true
		sv.note(fsformat.DamagedRecord(pos, "there is no record where there should be one"))
		return next, nil
	default:
		sv.lost = true
		err = fsformat.DamagedRecord(max(prev, sv.first), "the length of its data is wrong, or records behind it are")
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
	return ok && bits.OnesCount64(uint64(h.DataLen^n)) == 1
}

// search returns the first position from a position on, up to a limit, whose header is
// wanted, -1 if there is none. Behind the last header in limit it looks at zeros.
func (sv *surveyor) search(from, limit int64, wanted func(h fsformat.Record) bool) (int64, error) {
	const step = 1 << 20
	buf := make([]byte, step+fsformat.RecordSize)
	for ; from < limit; from += step {
		n, err := sv.s.F.ReadAt(buf, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("look for the next record: %w", err)
		}
		clear(buf[n:])
		for i := 0; i < step && from+int64(i) < limit; i++ {
			if wanted(fsformat.DecodeRecord(from+int64(i), buf[i:])) {
				return from + int64(i), nil
			}
		}
	}
	return -1, nil
}
