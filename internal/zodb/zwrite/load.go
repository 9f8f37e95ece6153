package zwrite

import (
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
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
	pos, _, ok := db.lookup(oid)
	if !ok {
		return 0, nil
	}
	c := fsformat.Cursor{F: db.f}
	err := db.damaged(c.Load(pos))
	return c.Tid, err
}

// load returns the newest record of oid.
func (db *DB) load(oid zodb.Oid) (data []byte, serial zodb.Tid, err error) {
	data, serial, err = db.read(oid)
	return data, serial, db.damaged(err)
}

func (db *DB) read(oid zodb.Oid) (data []byte, serial zodb.Tid, err error) {
	pos, end, ok := db.lookup(oid)
	if !ok {
		return nil, 0, &zodb.NoObjectError{Oid: oid}
	}
	c := fsformat.Cursor{F: db.f}
	if err := c.Load(pos); err != nil {
		return nil, 0, err
	}
	if c.Oid != oid {
		return nil, 0, fsformat.DamagedRecord(pos, "is of object %s, not of %s", c.Oid, oid)
	}
	serial = c.Tid
	for c.DataLen == 0 {
		end = c.Txn
		switch exists, err := c.LoadBack(); {
		case err != nil:
			return nil, 0, err
		case !exists:
			return nil, 0, &zodb.NoDataError{Oid: oid, DeletedAt: serial}
		}
	}
	if c.End() > end {
		return nil, 0, fsformat.DamagedRecord(c.Pos, "its %d bytes of data do not fit", c.DataLen)
	}
	data = make([]byte, c.DataLen)
	if _, err := db.f.ReadAt(data, c.DataPos()); err != nil {
		return nil, 0, err
	}
	if storage.IsPacked(data) {
		if data, err = storage.Unpack(data, storage.MaxUnpacked); err != nil {
			return nil, 0, fsformat.DamagedRecord(c.Pos, "cannot be decompressed: %s", err)
		}
	}
	return data, serial, nil
}
