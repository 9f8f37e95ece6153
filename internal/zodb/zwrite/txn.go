package zwrite

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync"

	"lab.nexedi.com/kirr/go123/xerr"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/fsformat"
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
	return fsformat.TxnSize + int64(len(m.User)+len(m.Description)+len(m.Extension))
}

func (m *Meta) check() error {
	for _, s := range [][]byte{m.User, m.Description, m.Extension} {
		if len(s) > math.MaxUint16 {
			return fmt.Errorf("user, description or extension of %d bytes is too long", len(s))
		}
	}
	return nil
}

// Store is a database that transactions are written to: a DB, or a Client.
type Store interface {
	// Begin begins a transaction, when the previous one has ended.
	Begin(ctx context.Context, meta Meta) (*Txn, error)
}

var (
	_ Store = (*DB)(nil)
	_ Store = (*Client)(nil)
)

// engine is what a transaction does to a database. Its methods may be called from any
// goroutine, but for write, settle, commit and rollback, which follow each other.
type engine interface {
	// newOid returns an oid that no object has.
	newOid() (zodb.Oid, error)

	// load returns the newest record of an object, as of the transaction, and its serial.
	load(oid zodb.Oid) (data []byte, serial zodb.Tid, err error)

	// reload returns a record of this transaction that is not in memory any more.
	reload(c *change) ([]byte, error)

	// knows reports whether the database has an object of that oid. It may be false for
	// one that was not loaded.
	knows(oid zodb.Oid) bool

	// understood returns a record as the application can read it.
	understood(oid zodb.Oid, data []byte) []byte

	// noted is told of a change. It may write what is in memory. t.mu is held.
	noted(t *Txn, oid zodb.Oid) error

	// settle is told that what was stored between two moments is final. It may write it.
	settle(t *Txn, from, to Mark) error

	// commit writes all that is not written, and makes it visible. Nobody uses t
	// meanwhile. If it fails nothing is left of the transaction.
	commit(t *Txn) (zodb.Tid, error)

	// abort removes what was written, and returns why with what went wrong at that.
	abort(why error) error

	// release lets the next transaction begin.
	release()
}

// Txn is a transaction. It ends with Commit or Abort.
type Txn struct {
	eng engine

	mu      sync.Mutex
	done    bool                  // guarded by mu, as all below
	err     error                 // the first trouble; Commit returns it
	changes map[zodb.Oid]*change  // what becomes of objects
	order   []*change             // those not written, in the order of the first Store
	stores  Mark                  // how many there were
	size    int64                 // bytes of data that are in memory
	expect  map[zodb.Oid]zodb.Tid // serials that Commit checks
}

var _ btree.Txn = (*Txn)(nil)

// change is what a transaction makes of an object.
type change struct {
	oid     zodb.Oid
	at      Mark   // when it was stored
	data    []byte // record; nil if deleted, or written already
	written int64  // position of the data record in the file, or 1; 0: in memory
	size    int64  // of the data, 0: the object is deleted
}

func newTxn(eng engine) *Txn {
	return &Txn{eng: eng, changes: make(map[zodb.Oid]*change), expect: make(map[zodb.Oid]zodb.Tid)}
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

// New returns the oid for a new object, which is not handed out again. The oid of an
// object in a file is one more than the highest there is, and is handed out again if the
// database is closed before something was stored with it.
func (t *Txn) New() zodb.Oid {
	oid, err := t.eng.newOid()
	if err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fail(err)
	}
	return oid
}

// Store makes data the record of the object, which need not exist. On a server one that
// does must have been loaded: else it counts as changed by somebody else. data must
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
		data = t.eng.understood(oid, data)
		t.put(&change{oid: oid, data: data, size: int64(len(data))})
	}
}

// Delete makes the object not exist. The object must be known to the database,
// or to this transaction. Errors are told by Commit.
func (t *Txn) Delete(oid zodb.Oid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.err != nil:
	case t.done:
		panic("BUG: zwrite: Delete in a transaction that is over")
	case t.changes[oid] == nil && !t.eng.knows(oid):
		t.fail(fmt.Errorf("delete: %w", &zodb.NoObjectError{Oid: oid}))
	default:
		t.put(&change{oid: oid})
	}
}

// put notes a change, and writes what is in memory when it is too much.
func (t *Txn) put(c *change) {
	c.at = t.stores
	t.stores++
	if old := t.changes[c.oid]; old != nil && old.written == 0 {
		t.size -= old.size
		t.size += c.size
		*old = *c
	} else {
		t.order = append(t.order, c)
		t.changes[c.oid] = c
		t.size += c.size
	}
	if err := t.eng.noted(t, c.oid); err != nil {
		t.fail(err)
	}
}

// Mark is a moment in a transaction, to be told to Settle.
type Mark int

// Mark returns the moment after what was stored so far.
func (t *Txn) Mark() Mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stores
}

// Settle says that what was stored between two moments will not be loaded any more, and
// not be stored again. So memory may be given up for which a Client has no other place.
// Errors are told by Err and Commit.
func (t *Txn) Settle(from, to Mark) {
	if err := t.eng.settle(t, from, to); err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fail(err)
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
// operating system, those of remote.Writer.
func (t *Txn) Load(oid zodb.Oid) (data []byte, serial zodb.Tid, err error) {
	defer xerr.Contextf(&err, "load %s", oid)
	t.mu.Lock()
	if t.done || t.err != nil { // after trouble it is not known what was stored
		defer t.mu.Unlock()
		return nil, 0, cmp.Or(t.err, ErrDone)
	}
	c := t.changes[oid]
	if c == nil {
		t.mu.Unlock()
		return t.eng.load(oid)
	}
	defer t.mu.Unlock()
	switch {
	case c.size == 0:
		return nil, 0, &zodb.NoDataError{Oid: oid}
	case c.written == 0:
		return c.data, 0, nil
	}
	data, err = t.eng.reload(c)
	return data, 0, err
}

// Commit makes the transaction visible and durable, and returns its tid. A
// transaction without changes is written too.
//
// If it fails nothing is committed, with two exceptions: an *UncertainError,
// and an error after which Begin fails because it is not known what was
// written. Other errors: *ConflictError, ErrForeign, ErrDone, the first trouble
// of Store, Delete or New, those of the operating system, those of remote.Writer,
// *LostError.
func (t *Txn) Commit() (tid zodb.Tid, err error) {
	defer xerr.Context(&err, "commit")
	err, ours := t.over()
	if !ours {
		return 0, ErrDone
	}
	defer t.end()
	if err != nil {
		return 0, t.eng.abort(err)
	}
	return t.eng.commit(t)
}

// Abort ends the transaction without effect. It does nothing after Commit or
// Abort.
func (t *Txn) Abort() {
	if err, ours := t.over(); ours {
		_ = t.eng.abort(err) // that it failed is told by the next Begin
		t.end()
	}
}

// over has everybody else find the transaction over. Only the first caller may end it.
func (t *Txn) over() (trouble error, ours bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ours, t.done = !t.done, true
	return t.err, ours
}

// end lets the next transaction begin.
func (t *Txn) end() {
	t.mu.Lock()
	t.changes, t.order = nil, nil
	t.mu.Unlock()
	t.eng.release()
}
