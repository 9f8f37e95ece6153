package zwrite

import (
	"context"
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
)

// fileTxn is a transaction on a data file. It implements engine.
type fileTxn struct {
	db     *DB
	meta   Meta
	end    int64              // of the last transaction, where this one begins
	tid    zodb.Tid           // 0 until it is needed
	out    *appender          // nil until something was written
	placed map[zodb.Oid]int64 // positions of the data records written
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
	return newTxn(&fileTxn{db: db, meta: meta, end: db.index.TopPos, placed: make(map[zodb.Oid]int64)}), nil
}

// newOid implements engine: it is one more than the highest there is.
func (f *fileTxn) newOid() (zodb.Oid, error) {
	oid, ok := f.db.newOid()
	if !ok {
		return oid, errors.New("there are no more oids")
	}
	return oid, nil
}

// load implements engine.
func (f *fileTxn) load(oid zodb.Oid) ([]byte, zodb.Tid, error) { return f.db.load(oid) }

// reload implements engine.
func (f *fileTxn) reload(c *change) ([]byte, error) {
	if err := f.out.flush(); err != nil {
		return nil, err
	}
	data := make([]byte, c.size)
	_, err := f.db.f.ReadAt(data, c.written+fsformat.RecordSize)
	return data, err
}

// knows implements engine.
func (f *fileTxn) knows(oid zodb.Oid) bool {
	_, _, known := f.db.lookup(oid)
	return known
}

// understood implements engine.
func (f *fileTxn) understood(oid zodb.Oid, data []byte) []byte {
	return understood(f.db.python2, data, oid == RootOid && f.knows(oid))
}

// noted implements engine.
func (f *fileTxn) noted(t *Txn, oid zodb.Oid) error {
	f.db.reserve(oid)
	if t.size <= f.db.opt.Buffer {
		return nil
	}
	return f.write(t)
}

// settle implements engine. A record that was written can be loaded at any
// time.
func (f *fileTxn) settle(*Txn, Mark, Mark) error { return nil }

// release implements engine.
func (f *fileTxn) release() { <-f.db.turn }
