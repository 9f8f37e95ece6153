package zwrite

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

func (db *DB) newOid() (oid zodb.Oid, ok bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.lastOid >= zodb.InvalidOid-1 {
		return zodb.InvalidOid, false
	}
	db.lastOid++
	return db.lastOid, true
}

// reserve has New give higher oids than oid.
func (db *DB) reserve(oid zodb.Oid) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.lastOid = max(db.lastOid, oid)
}

// lookup returns the position of the newest record of oid, and the end of the
// last transaction.
func (db *DB) lookup(oid zodb.Oid) (pos, end int64, ok bool) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	pos, ok = db.index.Get(oid)
	return pos, db.index.TopPos, ok
}

// serial returns the tid of the newest record of oid, 0 if there is none.
func (db *DB) serial(oid zodb.Oid) (zodb.Tid, error) {
	pos, end, ok := db.lookup(oid)
	if !ok {
		return 0, nil
	}
	d, err := db.scanner().record(pos, end)
	return d.tid, err
}

// scanner returns one for single records.
func (db *DB) scanner() *scanner { return &scanner{path: db.path, r: db.f} }

// load returns the newest record of oid.
func (db *DB) load(oid zodb.Oid) (data []byte, serial zodb.Tid, err error) {
	pos, end, ok := db.lookup(oid)
	if !ok {
		return nil, 0, &zodb.NoObjectError{Oid: oid}
	}
	s := db.scanner()
	d, err := s.record(pos, end)
	if err == nil && d.oid != oid {
		err = s.damaged(pos, "data record is of object %s, not of %s", d.oid, oid)
	}
	if err != nil {
		return nil, 0, err
	}
	serial = d.tid
	for d.size == 0 {
		back, err := s.back(&d)
		if err != nil {
			return nil, 0, err
		}
		if back == 0 {
			return nil, 0, &zodb.NoDataError{Oid: oid, DeletedAt: serial}
		}
		if d, err = s.record(back, d.txn); err != nil {
			return nil, 0, err
		}
	}
	data = make([]byte, d.size)
	if _, err := db.f.ReadAt(data, d.pos+dataHeaderLen); err != nil {
		return nil, 0, err
	}
	if len(data) > 2 && data[0] == '.' && data[1] == 'z' {
		data, err = unpack(data[2:])
		if err != nil {
			return nil, 0, s.damaged(d.pos, "cannot be decompressed: %s", err)
		}
	}
	return data, serial, nil
}

// maxUnpacked bounds what a compressed record may grow to.
const maxUnpacked = 256 << 20

// unpack undoes the compression of zc.zlibstorage.
func unpack(packed []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(z, maxUnpacked+1))
	if err == nil && (len(data) == 0 || len(data) > maxUnpacked) {
		err = fmt.Errorf("it has %d bytes or more", len(data))
	}
	return data, err
}
