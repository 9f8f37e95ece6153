package zwrite

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/btree"
)

// Meta is what a transaction says about itself.
type Meta struct {
	User        []byte // in UTF-8 by convention; at most 65535 bytes each
	Description []byte
	Extension   []byte // empty, or a pickled dict

	// Tid is the tid to commit with, which must be after that of the last
	// transaction. If it is 0, which it is except in tests and copies, the tid
	// is made from the clock.
	Tid zodb.Tid
}

func (m *Meta) headerLen() int64 {
	return txnHeaderLen + int64(len(m.User)+len(m.Description)+len(m.Extension))
}

func (m *Meta) check() error {
	for _, s := range [][]byte{m.User, m.Description, m.Extension} {
		if len(s) > math.MaxUint16 {
			return fmt.Errorf("user, description or extension of %d bytes is too long", len(s))
		}
	}
	return nil
}

// Txn is a transaction. It ends with Commit or Abort.
type Txn struct {
	db   *DB
	meta Meta
	end  int64 // of the last transaction, where this one begins

	mu      sync.Mutex
	done    bool                  // guarded by mu, as all below
	err     error                 // the first trouble; Commit returns it
	changes map[zodb.Oid]*change  // what becomes of objects
	order   []zodb.Oid            // of changes, those not written first
	size    int64                 // bytes of data that are in memory
	expect  map[zodb.Oid]zodb.Tid // serials that Commit checks
	tid     zodb.Tid              // 0 until it is needed
	out     *appender             // nil until something was written
	placed  map[zodb.Oid]int64    // positions of the data records written
}

var _ btree.Txn = (*Txn)(nil)

// change is what a transaction makes of an object.
type change struct {
	data    []byte // record; nil if deleted, or written already
	written int64  // position of the data record in the file, 0: in memory
	size    int64  // of the data, 0: the object is deleted
}

// Begin begins a transaction. It waits for the previous one of this DB to end.
// Errors: that of ctx, ErrClosed, an error of an earlier commit that left the
// file in an unknown state, and those of meta.
func (db *DB) Begin(ctx context.Context, meta Meta) (*Txn, error) {
	if err := meta.check(); err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	select {
	case db.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("begin: wait for the transaction in progress: %w", ctx.Err())
	}
	err := db.usable()
	if last := db.Head(); err == nil && meta.Tid != 0 && (meta.Tid <= last || !meta.Tid.Valid()) {
		err = fmt.Errorf("tid %s cannot come after that of the last transaction, %s", meta.Tid, last)
	}
	if err != nil {
		<-db.turn
		return nil, fmt.Errorf("begin: %w", err)
	}
	return &Txn{
		db:      db,
		meta:    meta,
		end:     db.index.TopPos,
		changes: make(map[zodb.Oid]*change),
		expect:  make(map[zodb.Oid]zodb.Tid),
		placed:  make(map[zodb.Oid]int64),
	}, nil
}

// fail notes the first trouble. t.mu is held.
func (t *Txn) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// Err returns the first trouble, which Commit would return, so that nobody goes on in
// vain.
func (t *Txn) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// New returns the oid for a new object: one more than the highest there is. An
// oid is not handed out again, unless the database is closed before something
// was stored with it.
func (t *Txn) New() zodb.Oid {
	oid, ok := t.db.newOid()
	if !ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fail(errors.New("there are no more oids"))
	}
	return oid
}

func (db *DB) newOid() (oid zodb.Oid, ok bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.lastOid >= zodb.InvalidOid-1 {
		return zodb.InvalidOid, false
	}
	db.lastOid++
	return db.lastOid, true
}

// Store makes data the record of the object, which need not exist. data must
// not be empty, and not be modified after that. If the application has Python 2 what
// a record.Encoder made is pickled anew for it. Errors are told by Commit.
func (t *Txn) Store(oid zodb.Oid, data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.err != nil:
	case t.done:
		panic("BUG: zwrite: Store in a transaction that is over")
	case len(data) == 0:
		t.fail(fmt.Errorf("store %s: a record cannot be empty", oid))
	case oid == zodb.InvalidOid:
		t.fail(fmt.Errorf("store %s: not an oid", oid))
	default:
		data = t.db.understood(oid, data)
		t.put(oid, &change{data: data, size: int64(len(data))})
	}
}

// Delete makes the object not exist. The object must be known to the database,
// or to this transaction. Errors are told by Commit.
func (t *Txn) Delete(oid zodb.Oid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _, known := t.db.lookup(oid)
	switch {
	case t.err != nil:
	case t.done:
		panic("BUG: zwrite: Delete in a transaction that is over")
	case !known && t.changes[oid] == nil:
		t.fail(fmt.Errorf("delete: %w", &zodb.NoObjectError{Oid: oid}))
	default:
		t.put(oid, &change{})
	}
}

// put notes a change, and writes what is in memory when it is too much.
func (t *Txn) put(oid zodb.Oid, c *change) {
	t.db.reserve(oid)
	if old := t.changes[oid]; old != nil && old.written == 0 {
		t.size -= old.size
	} else {
		t.order = append(t.order, oid)
	}
	t.changes[oid] = c
	t.size += c.size
	if t.size > t.db.opt.Buffer {
		if err := t.write(); err != nil {
			t.fail(err)
		}
	}
}

// Expect has Commit fail with *ConflictError unless serial is the tid of the
// transaction that changed the object last, 0 if it must be new. It is for
// whoever loaded the object before this transaction.
func (t *Txn) Expect(oid zodb.Oid, serial zodb.Tid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expect[oid] = serial
}

// Load returns the record of the object as the transaction sees it, and its
// serial, which is 0 for what the transaction itself wrote. The record must not
// be modified.
//
// Errors: the first trouble of Store, Delete or New, *zodb.NoObjectError and
// *zodb.NoDataError if the object does not exist, *DamageError, ErrDone, those of the
// operating system.
func (t *Txn) Load(oid zodb.Oid) (data []byte, serial zodb.Tid, err error) {
	data, serial, err = t.load(oid)
	if err != nil {
		return nil, 0, fmt.Errorf("load %s: %w", oid, err)
	}
	return data, serial, nil
}

func (t *Txn) load(oid zodb.Oid) ([]byte, zodb.Tid, error) {
	t.mu.Lock()
	if t.done || t.err != nil { // after trouble it is not known what was stored
		defer t.mu.Unlock()
		return nil, 0, cmp.Or(t.err, ErrDone)
	}
	c := t.changes[oid]
	if c == nil {
		t.mu.Unlock()
		return t.db.load(oid)
	}
	defer t.mu.Unlock()
	switch {
	case c.size == 0:
		return nil, 0, &zodb.NoDataError{Oid: oid, DeletedAt: t.tid}
	case c.written == 0:
		return c.data, 0, nil
	}
	if err := t.out.flush(); err != nil {
		return nil, 0, err
	}
	data := make([]byte, c.size)
	_, err := t.db.f.ReadAt(data, c.written+dataHeaderLen)
	return data, 0, err
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
