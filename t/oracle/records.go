package oracle

import (
	"encoding/binary"
	"os"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Record is one stored revision of an object.
type Record struct {
	Oid  zodb.Oid
	Tid  zodb.Tid
	Data []byte
}

// Records returns all data records of the database, in file order. Records that
// only point to another one, as undo makes them, are left out.
//
// It trusts the file and reads the format as it is documented in
// ZODB/FileStorage/format.py, so that tests of decoders need no storage.
func (db *DB) Records(t testing.TB) (records []Record) {
	t.Helper()
	data, err := os.ReadFile(db.Path)
	if err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	for pos := uint64(4); pos < uint64(len(data)); {
		txn := data[pos:]
		end := pos + be.Uint64(txn[8:])
		pos += 23 + uint64(be.Uint16(txn[17:])) + uint64(be.Uint16(txn[19:])) + uint64(be.Uint16(txn[21:]))
		for pos < end {
			head := data[pos:]
			size := be.Uint64(head[34:])
			pos += 42
			if size == 0 {
				pos += 8
				continue
			}
			oid, tid := zodb.Oid(be.Uint64(head)), zodb.Tid(be.Uint64(head[8:]))
			records = append(records, Record{oid, tid, data[pos : pos+size]})
			pos += size
		}
		pos = end + 8
	}
	return records
}
