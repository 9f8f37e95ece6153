package fsformat

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Magic bytes, which a file begins with.
const (
	MagicPy2 = "FS21" // the application has Python 2
	MagicPy3 = "FS30"
)

// Places and sizes, in bytes.
const (
	FirstTxnPos  = int64(len(MagicPy3))
	FirstDataPos = FirstTxnPos + TxnSize

	TxnSize     = 23 // header of a transaction: tid, length, status, three lengths of strings
	RecordSize  = 42 // header of a data record: oid, tid, previous, transaction, length of the version, length of the data
	BackSize    = 8  // back pointer in the place of data
	TrailerSize = 8  // copy of the length behind each transaction

	LengthOff = 8  // of the length in a transaction
	StatusOff = 16 // of the status

	MaxPos = 1<<48 - 1 // of a record, since that is what a saved index can hold
)

// Status bytes of a transaction.
const (
	StatusComplete = ' '
	StatusPacked   = 'p' // a pack wrote it
	StatusVoted    = 'c' // it may be finished or aborted
	StatusUndone   = 'u' // its data must be skipped
)

// ReadMagic returns what a file begins with, 4 bytes or fewer, and whether that is the
// magic of a FileStorage.
func ReadMagic(f io.ReaderAt) (magic string, ok bool, err error) {
	b := make([]byte, FirstTxnPos)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false, err
	}
	magic = string(b[:n])
	return magic, magic == MagicPy2 || magic == MagicPy3, nil
}

// Txn is the header of a transaction, and where it is.
type Txn struct {
	Pos    int64
	Size   int64 // of the whole transaction, with the trailer
	Tid    zodb.Tid
	Status byte
	User   int // lengths of the strings
	Desc   int
	Ext    int
}

// StringsPos returns where the strings are.
func (t *Txn) StringsPos() int64 { return t.Pos + TxnSize }

// DataPos returns where the first record is.
func (t *Txn) DataPos() int64 { return t.StringsPos() + int64(t.User+t.Desc+t.Ext) }

// DataEnd returns where the trailer is.
func (t *Txn) DataEnd() int64 { return t.End() - TrailerSize }

// End returns where the next transaction begins.
func (t *Txn) End() int64 { return t.Pos + t.Size }

// Length returns what stands in the header and in the trailer.
func (t *Txn) Length() int64 { return t.Size - TrailerSize }

// Plausible reports whether t can be a finished transaction, of whatever file.
func (t *Txn) Plausible() bool {
	switch t.Status {
	case StatusComplete, StatusPacked, StatusUndone:
		return t.Tid != 0 && t.Tid.Valid() && t.DataPos() <= t.DataEnd()
	}
	return false
}

// Strings reads user, description and extension, which follow each other, into the memory
// of buf if there is room.
func (t *Txn) Strings(f io.ReaderAt, buf []byte) ([]byte, error) {
	n := t.User + t.Desc + t.Ext
	buf = slices.Grow(buf[:0], n)[:n]
	_, err := f.ReadAt(buf, t.StringsPos())
	return buf, AsDamage(t.Pos, err)
}

// DecodeTxn decodes the first TxnSize bytes of b. Nothing is checked; a length that no
// file has becomes a smaller one that no file has.
func DecodeTxn(pos int64, b []byte) Txn {
	be := binary.BigEndian
	return Txn{
		Pos:    pos,
		Tid:    zodb.Tid(be.Uint64(b)),
		Size:   int64(min(be.Uint64(b[LengthOff:]), 1<<62)) + TrailerSize,
		Status: b[StatusOff],
		User:   int(be.Uint16(b[17:])),
		Desc:   int(be.Uint16(b[19:])),
		Ext:    int(be.Uint16(b[21:])),
	}
}

// AppendTxn appends the header of a transaction, and its strings, of at most 65535 bytes
// each. length is that of all but the trailer.
func AppendTxn(b []byte, tid zodb.Tid, length int64, status byte, user, desc, ext []byte) []byte {
	be := binary.BigEndian
	b = slices.Grow(b, TxnSize+len(user)+len(desc)+len(ext))
	b = be.AppendUint64(b, uint64(tid))
	b = be.AppendUint64(b, uint64(length))
	b = append(b, status)
	b = be.AppendUint16(b, uint16(len(user)))
	b = be.AppendUint16(b, uint16(len(desc)))
	b = be.AppendUint16(b, uint16(len(ext)))
	return append(append(append(b, user...), desc...), ext...)
}

// AppendNumber appends a number as it stands in a file: a length, or a position.
func AppendNumber(b []byte, n int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }

// DecodeNumber decodes the first 8 bytes of b.
func DecodeNumber(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }
