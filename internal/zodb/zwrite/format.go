package zwrite

import (
	"encoding/binary"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// The layout of a data file is that of ZODB/FileStorage/format.py. All numbers
// are big-endian.
const (
	magicPy2 = "FS21"
	magicPy3 = "FS30"

	firstTxnPos   = 4
	txnHeaderLen  = 23 // tid, length, status, three string lengths; strings follow
	dataHeaderLen = 42 // oid, tid, previous, transaction, version length, data length
	backLen       = 8  // back pointer that stands for data
	trailerLen    = 8  // copy of the length behind each transaction
	firstDataPos  = firstTxnPos + txnHeaderLen

	statusOff = 16 // of the status byte in a transaction

	maxPos = 1<<48 - 1 // what fits into a saved index
)

// Status bytes of a transaction.
const (
	statusComplete = ' '
	statusPacked   = 'p'
	statusVoted    = 'c'
	statusUndone   = 'u' // its data must be skipped
)

// txnHeader is a transaction without its data.
type txnHeader struct {
	pos    int64
	tid    zodb.Tid
	length uint64 // up to the trailer
	status byte
	user   int // lengths of the strings
	desc   int
	ext    int
}

func (t *txnHeader) dataPos() int64 { return t.pos + txnHeaderLen + int64(t.user+t.desc+t.ext) }
func (t *txnHeader) dataEnd() int64 { return t.pos + int64(t.length) }
func (t *txnHeader) end() int64     { return t.dataEnd() + trailerLen }

// plausible reports whether t can be a finished transaction, of whatever file.
func (t *txnHeader) plausible() bool {
	switch t.status {
	case statusComplete, statusPacked, statusUndone:
		return t.tid != 0 && t.tid.Valid() && t.length < 1<<62 && t.dataPos() <= t.dataEnd()
	}
	return false
}

func decodeTxnHeader(pos int64, b []byte) txnHeader {
	be := binary.BigEndian
	return txnHeader{
		pos:    pos,
		tid:    zodb.Tid(be.Uint64(b)),
		length: be.Uint64(b[8:]),
		status: b[statusOff],
		user:   int(be.Uint16(b[17:])),
		desc:   int(be.Uint16(b[19:])),
		ext:    int(be.Uint16(b[21:])),
	}
}

func encodeTxnHeader(tid zodb.Tid, length int64, status byte, m *Meta) []byte {
	be := binary.BigEndian
	b := make([]byte, 0, m.headerLen())
	b = be.AppendUint64(b, uint64(tid))
	b = be.AppendUint64(b, uint64(length))
	b = append(b, status)
	b = be.AppendUint16(b, uint16(len(m.User)))
	b = be.AppendUint16(b, uint16(len(m.Description)))
	b = be.AppendUint16(b, uint16(len(m.Extension)))
	return append(append(append(b, m.User...), m.Description...), m.Extension...)
}

// dataHeader is a data record without its data.
type dataHeader struct {
	pos  int64
	oid  zodb.Oid
	tid  zodb.Tid
	prev int64  // position of the previous record of the object, 0: none
	txn  int64  // position of the transaction
	size uint64 // of the data; 0: a back pointer follows
}

// len returns the length of the record. The size must have been checked.
func (d *dataHeader) len() int64 {
	if d.size == 0 {
		return dataHeaderLen + backLen
	}
	return dataHeaderLen + int64(d.size)
}

// decodeDataHeader also returns the length of the version, which must be 0.
func decodeDataHeader(pos int64, b []byte) (d dataHeader, version uint16) {
	be := binary.BigEndian
	return dataHeader{
		pos:  pos,
		oid:  zodb.Oid(be.Uint64(b)),
		tid:  zodb.Tid(be.Uint64(b[8:])),
		prev: int64(be.Uint64(b[16:])),
		txn:  int64(be.Uint64(b[24:])),
		size: be.Uint64(b[34:]),
	}, be.Uint16(b[32:])
}

func (d *dataHeader) encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 0, dataHeaderLen+backLen)
	b = be.AppendUint64(b, uint64(d.oid))
	b = be.AppendUint64(b, uint64(d.tid))
	b = be.AppendUint64(b, uint64(d.prev))
	b = be.AppendUint64(b, uint64(d.txn))
	b = be.AppendUint16(b, 0)
	b = be.AppendUint64(b, d.size)
	if d.size == 0 {
		b = be.AppendUint64(b, 0) // the object does not exist from here on
	}
	return b
}
