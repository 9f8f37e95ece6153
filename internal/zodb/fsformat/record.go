package fsformat

import (
	"encoding/binary"
	"io"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Record is the header of a data record, and where it is.
type Record struct {
	Pos     int64
	Oid     zodb.Oid
	Tid     zodb.Tid
	Prev    int64  // position of the record before it of the object, 0 if there is none
	Txn     int64  // position of the transaction
	Version uint16 // length of the version, which must be 0
	DataLen int64  // 0: a back pointer follows
}

// DataPos returns where the data is, or the back pointer.
func (r *Record) DataPos() int64 { return r.Pos + RecordSize }

// Len returns the length of the record. A length of data that no file has gives one that
// no file has.
func (r *Record) Len() int64 {
	if r.DataLen == 0 {
		return RecordSize + BackSize
	}
	return RecordSize + int64(min(uint64(r.DataLen), 1<<62))
}

// End returns where the record ends.
func (r *Record) End() int64 { return r.Pos + r.Len() }

// DecodeRecord decodes the first RecordSize bytes of b. Nothing is checked.
func DecodeRecord(pos int64, b []byte) Record {
	be := binary.BigEndian
	return Record{
		Pos:     pos,
		Oid:     zodb.Oid(be.Uint64(b)),
		Tid:     zodb.Tid(be.Uint64(b[8:])),
		Prev:    int64(be.Uint64(b[16:])),
		Txn:     int64(be.Uint64(b[24:])),
		Version: be.Uint16(b[32:]),
		DataLen: int64(be.Uint64(b[34:])),
	}
}

// Append appends the header. The data has to follow, or a back pointer.
func (r *Record) Append(b []byte) []byte {
	be := binary.BigEndian
	b = slices.Grow(b, RecordSize+BackSize)
	b = be.AppendUint64(b, uint64(r.Oid))
	b = be.AppendUint64(b, uint64(r.Tid))
	b = be.AppendUint64(b, uint64(r.Prev))
	b = be.AppendUint64(b, uint64(r.Txn))
	b = be.AppendUint16(b, r.Version)
	return be.AppendUint64(b, uint64(r.DataLen))
}

// Check checks all that a header says by itself. Its links lead to places before
// its transaction, so whoever follows them comes to an end.
func (r *Record) Check() error {
	switch {
	case !r.Tid.Valid():
		return DamagedRecord(r.Pos, "invalid tid: %v", r.Tid)
	case r.Txn < FirstTxnPos:
		return DamagedRecord(r.Pos, "invalid txn position: %v", r.Txn)
	case r.Txn > r.Pos-TxnSize:
		return DamagedRecord(r.Pos, "txn position not decreasing: %v", r.Txn)
	case r.Prev != 0 && r.Prev < FirstDataPos:
		return DamagedRecord(r.Pos, "invalid prev revision position: %v", r.Prev)
	case r.Prev > r.lastLink():
		return DamagedRecord(r.Pos, "prev revision position (%v) overlaps with txn (%v)", r.Prev, r.Txn)
	case r.Version != 0:
		return DamagedRecord(r.Pos, "non-zero version: #%v", r.Version)
	case r.DataLen < 0:
		return DamagedRecord(r.Pos, "invalid data len: %v", r.DataLen)
	}
	return nil
}

// lastLink returns the last position that a link of the record may lead to. It is less
// than 0 in the first transaction, where no link but 0 is possible.
func (r *Record) lastLink() int64 { return max(0, r.Txn-TrailerSize-RecordSize) }

// Cursor is at one data record, and moves to others of the object. It also looks at what
// is elsewhere. It is ready for use with a file, and not copied after that.
type Cursor struct {
	Record
	F io.ReaderAt

	b [RecordSize]byte // so that a move allocates nothing
}

// Load moves to the record at pos. The error is a *DamageError, or one of the operating
// system, as of all methods. After an error the cursor is nowhere.
func (c *Cursor) Load(pos int64) (err error) {
	if pos < FirstDataPos {
		return DamagedRecord(pos, "no data record can be here")
	}
	if c.Record, err = c.Peek(pos); err != nil {
		return err
	}
	return c.Check()
}

// Peek returns the record at pos, unchecked.
func (c *Cursor) Peek(pos int64) (Record, error) {
	if _, err := c.F.ReadAt(c.b[:], pos); err != nil {
		return Record{}, AsDamage(pos, err)
	}
	return DecodeRecord(pos, c.b[:]), nil
}

// TxnAt returns the transaction at pos, unchecked.
func (c *Cursor) TxnAt(pos int64) (Txn, error) {
	if _, err := c.F.ReadAt(c.b[:TxnSize], pos); err != nil {
		return Txn{}, AsDamage(pos, err)
	}
	return DecodeTxn(pos, c.b[:]), nil
}

// Number returns the number at pos.
func (c *Cursor) Number(pos int64) (int64, error) {
	if _, err := c.F.ReadAt(c.b[:BackSize], pos); err != nil {
		return 0, AsDamage(pos, err)
	}
	return DecodeNumber(c.b[:]), nil
}

// LoadPrev moves to the record before this one of the object, which there must be.
func (c *Cursor) LoadPrev() error { return c.follow(c.Prev) }

// Back returns the position that a record without data points to, 0 if the object does
// not exist.
func (c *Cursor) Back() (int64, error) {
	back, err := c.Number(c.DataPos())
	switch {
	case err != nil:
		return 0, err
	case back != 0 && back < FirstDataPos:
		return 0, DamagedRecord(c.Pos, "invalid backpointer: %v", back)
	case back > c.lastLink():
		return 0, DamagedRecord(c.Pos, "backpointer (%v) overlaps with txn (%v)", back, c.Txn)
	}
	return back, nil
}

// LoadBack moves to the record that a record without data points to. It reports false if
// the object does not exist.
func (c *Cursor) LoadBack() (bool, error) {
	back, err := c.Back()
	if err != nil || back == 0 {
		return false, err
	}
	return true, c.follow(back)
}

// follow moves to the record that this one links to.
func (c *Cursor) follow(pos int64) error {
	from := c.Record
	if err := c.Load(pos); err != nil {
		return err
	}
	switch {
	case c.Oid != from.Oid:
		return DamagedRecord(from.Pos, "oid mismatch: %s -> %s", from.Oid, c.Oid)
	case c.Tid >= from.Tid:
		return DamagedRecord(from.Pos, "tid not ↓: %s -> %s", from.Tid, c.Tid)
	}
	return nil
}
