// Package mem is a database in memory whose commits and failures are scripted:
// the model that upper layers are tested against.
//
// A Storage is a handle of a database that it may share with other handles,
// made by its Open. Each handle has its own events, hook and counters; commits
// go to all of them. Everything may be called from any goroutine.
//
// Commit and the like panic when they are misused, because that is a mistake
// of the test.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Txn is a transaction to commit.
type Txn struct {
	Tid         zodb.Tid
	User        []byte
	Description []byte
	Extension   []byte
	Records     map[zodb.Oid][]byte // nil deletes the object

	// Event, if not nil, is told instead of what follows from Records. Its
	// Tid is set by Commit.
	Event *storage.Event
}

// revision is what one transaction made of an object.
type revision struct {
	tid  zodb.Tid
	data []byte // nil: deleted
}

// database is shared by the handles that Open makes.
type database struct {
	mu      sync.RWMutex
	txns    []Txn                    // guarded by mu; ascending
	objects map[zodb.Oid][]revision  // guarded by mu; ascending
	handles map[*Storage]*handleView // guarded by mu; those not closed
}

// handleView is what a handle sees. It is guarded by database.mu.
type handleView struct {
	down error    // set by Fail
	head zodb.Tid // what it was then
}

// Storage implements storage.Storage and storage.Iterator.
type Storage struct {
	db     *database
	queue  *storage.EventQueue
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	hook   atomic.Pointer[func(context.Context, zodb.Xid) error]
	many   atomic.Bool // see AnswerMany
	loads  atomic.Int64
	asked  atomic.Int64
	syncs  atomic.Int64

	perOidMu sync.Mutex
	perOid   map[zodb.Oid]int64 // guarded by perOidMu
}

var (
	_ storage.Storage  = (*Storage)(nil)
	_ storage.Iterator = (*Storage)(nil)
	_ storage.Opener   = (*Storage)(nil).Open
)

// New returns a handle of a new empty database.
func New() *Storage {
	db := &database{objects: make(map[zodb.Oid][]revision), handles: make(map[*Storage]*handleView)}
	return db.open()
}

func (db *database) open() *Storage {
	s := &Storage{db: db, queue: storage.NewEventQueue(), perOid: make(map[zodb.Oid]int64)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	db.handles[s] = &handleView{}
	return s
}

// head returns the tid of the last transaction. db.mu must be held.
func (db *database) head() zodb.Tid {
	if len(db.txns) == 0 {
		return 0
	}
	return db.txns[len(db.txns)-1].Tid
}

// Open returns another handle of the same database, whatever u is. It
// implements storage.Opener.
func (s *Storage) Open(ctx context.Context, u storage.URL, opt storage.Options) (storage.Storage, zodb.Tid, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	h := s.db.open()
	h.many.Store(s.many.Load())
	return h, s.db.head(), nil
}

// Commit commits a transaction that changes the given objects; nil deletes.
func (s *Storage) Commit(tid zodb.Tid, records map[zodb.Oid][]byte) {
	s.CommitTxn(Txn{Tid: tid, Records: records})
}

// CommitTxn commits t, whose tid must be above the head. Data is copied.
func (s *Storage) CommitTxn(t Txn) {
	db := s.db
	db.mu.Lock()
	defer db.mu.Unlock()
	if t.Tid <= db.head() || !t.Tid.Valid() {
		panic(fmt.Sprintf("BUG: mem: commit @%s, the head is @%s", t.Tid, db.head()))
	}
	ev := storage.Event{Oids: slices.Sorted(maps.Keys(t.Records))}
	if t.Event != nil {
		ev = *t.Event
	}
	ev.Tid = t.Tid
	for oid, data := range t.Records {
		if data != nil && len(data) == 0 {
			panic(fmt.Sprintf("BUG: mem: commit @%s: object %s has an empty record", t.Tid, oid))
		}
		db.objects[oid] = append(db.objects[oid], revision{t.Tid, bytes.Clone(data)})
	}
	db.txns = append(db.txns, t)
	for h := range db.handles {
		ev := ev
		ev.Oids = slices.Clone(ev.Oids)
		h.queue.Put(ev)
	}
}

// Fail ends the handle with err, as if the connection to the database were lost
// for good: known views can be loaded, nothing else works.
func (s *Storage) Fail(err error) {
	down := &storage.DownError{Err: err}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	if view := s.db.handles[s]; view != nil && view.down == nil {
		view.down, view.head = down, s.db.head()
		s.queue.End(down)
	}
}

// head returns what s sees as head. db.mu must be held.
func (s *Storage) head() zodb.Tid {
	if view := s.db.handles[s]; view != nil && view.down != nil {
		return view.head
	}
	return s.db.head()
}

// OnLoad has hook called at the beginning of each Load, without locks: it may
// wait, and an error of it becomes that of Load. nil removes the hook.
func (s *Storage) OnLoad(hook func(ctx context.Context, xid zodb.Xid) error) {
	if hook == nil {
		s.hook.Store(nil)
		return
	}
	s.hook.Store(&hook)
}

// Loads returns how many objects were asked for by Load and LoadMany.
func (s *Storage) Loads() int64 { return s.loads.Load() }

// LoadsOf is Loads of one object.
func (s *Storage) LoadsOf(oid zodb.Oid) int64 {
	s.perOidMu.Lock()
	defer s.perOidMu.Unlock()
	return s.perOid[oid]
}

// Syncs returns how often Sync was called.
func (s *Storage) Syncs() int64 { return s.syncs.Load() }

// URL implements storage.Storage.
func (s *Storage) URL() string { return "mem://test" }

// Head implements storage.Storage.
func (s *Storage) Head() zodb.Tid {
	s.db.mu.RLock()
	defer s.db.mu.RUnlock()
	return s.head()
}

// Sync implements storage.Storage.
func (s *Storage) Sync(ctx context.Context) (zodb.Tid, error) {
	s.syncs.Add(1)
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.db.mu.RLock()
	defer s.db.mu.RUnlock()
	switch view := s.db.handles[s]; {
	case view == nil:
		return 0, storage.ErrClosed
	case view.down != nil:
		return 0, view.down
	}
	return s.db.head(), nil
}

// NextEvent implements storage.Storage.
func (s *Storage) NextEvent(ctx context.Context) (storage.Event, error) {
	return s.queue.Next(ctx)
}

// Pending returns how many events wait for NextEvent.
func (s *Storage) Pending() int { return s.queue.Len() }

// Close implements storage.Storage. A hook that waits has its context ended.
func (s *Storage) Close() error {
	s.db.mu.Lock()
	delete(s.db.handles, s)
	s.db.mu.Unlock()
	s.cancel()
	s.queue.End(io.EOF)
	return nil
}

// Load implements storage.Loader.
func (s *Storage) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	s.asked.Add(1)
	return s.load(ctx, xid)
}

func (s *Storage) load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	s.count(xid.Oid)
	if err := s.runHook(ctx, xid); err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	data, serial, err := s.find(xid)
	if err != nil {
		return nil, 0, err
	}
	buf := storage.NewBuf(len(data))
	copy(buf.Data, data)
	return buf, serial, nil
}

func (s *Storage) count(oid zodb.Oid) {
	s.loads.Add(1)
	s.perOidMu.Lock()
	s.perOid[oid]++
	s.perOidMu.Unlock()
}

func (s *Storage) runHook(ctx context.Context, xid zodb.Xid) error {
	hook := s.hook.Load()
	if hook == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	err := (*hook)(ctx, xid)
	if err != nil && s.ctx.Err() != nil {
		return storage.ErrClosed
	}
	return err
}

func (s *Storage) find(xid zodb.Xid) (data []byte, serial zodb.Tid, err error) {
	db := s.db
	db.mu.RLock()
	defer db.mu.RUnlock()
	at := min(xid.At, zodb.TidMax)
	if db.handles[s] == nil {
		return nil, 0, storage.ErrClosed
	}
	if head := s.head(); at > head {
		return nil, 0, &storage.FutureViewError{At: at, Head: head}
	}
	revs := db.objects[xid.Oid]
	if len(revs) == 0 {
		return nil, 0, &zodb.NoObjectError{Oid: xid.Oid}
	}
	i, found := slices.BinarySearchFunc(revs, at, func(r revision, at zodb.Tid) int {
		if r.tid <= at {
			return -1
		}
		return 1
	})
	if found || i == 0 {
		return nil, 0, &zodb.NoDataError{Oid: xid.Oid}
	}
	rev := revs[i-1]
	if rev.data == nil {
		return nil, 0, &zodb.NoDataError{Oid: xid.Oid, DeletedAt: rev.tid}
	}
	return rev.data, rev.tid, nil
}

// Iterate implements storage.Iterator.
func (s *Storage) Iterate(ctx context.Context, tidMin, tidMax zodb.Tid, f func(*storage.Txn) error) error {
	s.db.mu.RLock()
	txns, head, open := s.db.txns, s.head(), s.db.handles[s] != nil
	s.db.mu.RUnlock()
	if !open {
		return storage.ErrClosed
	}
	for _, t := range txns {
		if t.Tid < tidMin || t.Tid > min(tidMax, head) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		err := f(&storage.Txn{
			Tid: t.Tid, User: t.User, Description: t.Description, Extension: t.Extension,
			Oids: slices.Sorted(maps.Keys(t.Records)),
		})
		if err != nil {
			return err
		}
	}
	return nil
}
