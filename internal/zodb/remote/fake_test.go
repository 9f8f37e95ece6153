package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// server is a fake server. Fields that are functions are called without locks.
type server struct {
	mu       sync.Mutex
	db       *storagetest.Model // guarded by mu
	last     zodb.Tid           // guarded by mu; a pack does not change it
	sessions []*session         // guarded by mu; those that live
	dials    []time.Time        // guarded by mu
	opened   int                // guarded by mu; sessions there ever were

	dialing atomic.Pointer[func(ctx context.Context) error]   // before it connects
	greeted atomic.Pointer[func(c Commits)]                   // between registration and the end of Dial
	calling atomic.Pointer[func(s *session, op string) error] // before each answer
	listed  atomic.Pointer[func(oids []zodb.Oid) []zodb.Oid]  // what a session tells of a transaction
	delay   func() time.Duration                              // of each message, nil: none
	late    bool                                              // sessions that have ended tell what they were told
	wrap    func(*session) Session                            // what Dial returns, nil: the session
}

func newServer() *server { return &server{db: storagetest.NewModel()} }

// set changes a hook; f nil removes it.
func set[F any](p *atomic.Pointer[F], f F) { p.Store(&f) }

// writes returns a transaction that changes objects.
func writes(tid zodb.Tid, oids ...zodb.Oid) storagetest.Txn {
	t := storagetest.Txn{Tid: tid}
	for _, oid := range oids {
		t.Records = append(t.Records, storagetest.Record{Oid: oid, Data: fmt.Appendf(nil, "%s of %s", oid, tid)})
	}
	return t
}

func (sv *server) commit(tid zodb.Tid, oids ...zodb.Oid) { sv.commitTxn(writes(tid, oids...)) }

// delete commits a transaction that deletes objects.
func (sv *server) delete(tid zodb.Tid, oids ...zodb.Oid) {
	t := storagetest.Txn{Tid: tid}
	for _, oid := range oids {
		t.Records = append(t.Records, storagetest.Record{Oid: oid})
	}
	sv.commitTxn(t)
}

func (sv *server) commitTxn(t storagetest.Txn) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.db.Commit(t)
	sv.last = t.Tid
	for _, s := range sv.sessions {
		s.tell(t)
	}
}

// replace has the server serve what db has from now on, to new sessions.
func (sv *server) replace(db *storagetest.Model, last zodb.Tid) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.db, sv.last = db, last
	sv.end(errors.New("the server was restarted"))
}

// breakAll ends all sessions.
func (sv *server) breakAll(err error) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.end(err)
}

// end ends all sessions. sv.mu must be held.
func (sv *server) end(err error) {
	for _, s := range sv.sessions {
		s.fail(err)
	}
	sv.sessions = nil
}

// forge has the server say that its last transaction is another one.
func (sv *server) forge(last zodb.Tid) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.last = last
}

func (sv *server) sessionsEver() int {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return sv.opened
}

func (sv *server) dialTimes() []time.Time {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return slices.Clone(sv.dials)
}

// packed returns db as a pack up to a transaction leaves it.
func packed(db *storagetest.Model, upto zodb.Tid) *storagetest.Model {
	to := storagetest.NewModel()
	for _, t := range db.Txns {
		left := t
		left.Records = nil
		for _, r := range t.Records {
			data, serial, _ := db.Load(zodb.Xid{At: upto, Oid: r.Oid})
			if t.Tid > upto || serial == t.Tid && data != nil {
				left.Records = append(left.Records, r)
			}
		}
		if t.Tid > upto || left.Records != nil {
			to.Commit(left)
		}
	}
	return to
}

func (sv *server) pack(upto zodb.Tid) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.db = packed(sv.db, upto)
}

// dial is a Dial.
func (sv *server) dial(ctx context.Context, commits Commits) (Session, zodb.Tid, error) {
	sv.mu.Lock()
	sv.dials = append(sv.dials, time.Now())
	sv.mu.Unlock()
	if f := sv.dialing.Load(); f != nil && *f != nil {
		if err := (*f)(ctx); err != nil {
			return nil, 0, err
		}
	}
	s := &session{sv: sv, commits: commits, wake: make(chan struct{}, 1), done: make(chan struct{})}
	sv.mu.Lock()
	last := sv.last
	sv.opened++
	sv.sessions = append(sv.sessions, s)
	sv.mu.Unlock()
	s.running.Go(s.read)
	if f := sv.greeted.Load(); f != nil && *f != nil {
		(*f)(commits)
	}
	if err := s.answer(ctx, "dial"); err != nil {
		s.Close()
		return nil, 0, err
	}
	if sv.wrap != nil {
		return sv.wrap(s), last, nil
	}
	return s, last, nil
}

// session is a Session of a fake server. It tells transactions in order, each after a
// delay, from a goroutine of its own; answers come when they like.
type session struct {
	sv      *server
	commits Commits
	wake    chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	untold []storagetest.Txn // guarded by mu
	err    error             // guarded by mu
	done   chan struct{}
}

func (s *session) tell(t storagetest.Txn) {
	s.mu.Lock()
	s.untold = append(s.untold, t)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) read() {
	for {
		s.mu.Lock()
		untold := s.untold
		s.untold = nil
		s.mu.Unlock()
		for _, t := range untold {
			if !s.sleep(context.Background()) && !s.sv.late {
				return
			}
			oids := t.Oids()
			if f := s.sv.listed.Load(); f != nil && *f != nil {
				oids = (*f)(oids)
			}
			s.commits(t.Tid, oids)
		}
		select {
		case <-s.wake:
		case <-s.done:
			return
		}
	}
}

// sleep waits as long as a message takes, and reports whether it has come.
func (s *session) sleep(ctx context.Context) bool {
	var d time.Duration
	if s.sv.delay != nil {
		d = s.sv.delay()
	}
	if d == 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-s.done:
	case <-ctx.Done():
	}
	return false
}

func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.done)
	}
}

// answer waits for an answer of the server.
func (s *session) answer(ctx context.Context, op string) error {
	if f := s.sv.calling.Load(); f != nil && *f != nil {
		if err := (*f)(s, op); err != nil {
			return err
		}
	}
	s.sleep(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Err()
}

// Load, Last, Transactions: their answer is made after half of the time that they take.
func (s *session) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	if err := s.answer(ctx, "load"); err != nil {
		return nil, 0, err
	}
	s.sv.mu.Lock()
	data, serial, known := s.sv.db.Load(xid)
	s.sv.mu.Unlock()
	s.sleep(ctx)
	if err := errors.Join(ctx.Err(), s.Err()); err != nil {
		return nil, 0, err
	}
	switch {
	case !known:
		return nil, 0, &zodb.NoObjectError{Oid: xid.Oid}
	case data == nil:
		return nil, 0, &zodb.NoDataError{Oid: xid.Oid, DeletedAt: serial}
	}
	buf := storage.NewBuf(len(data))
	copy(buf.Data, data)
	return buf, serial, nil
}

func (s *session) Last(ctx context.Context) (zodb.Tid, error) {
	if err := s.answer(ctx, "last"); err != nil {
		return 0, err
	}
	s.sv.mu.Lock()
	last := s.sv.last
	s.sv.mu.Unlock()
	s.sleep(ctx)
	return last, errors.Join(ctx.Err(), s.Err())
}

func (s *session) Transactions(ctx context.Context, from, to zodb.Tid, f func(*storage.Txn) error) error {
	if err := s.answer(ctx, "transactions"); err != nil {
		return err
	}
	s.sv.mu.Lock()
	txns := s.sv.db.Txns
	s.sv.mu.Unlock()
	for _, t := range txns {
		if t.Tid < from || t.Tid > to {
			continue
		}
		if err := s.answer(ctx, "transaction"); err != nil {
			return err
		}
		oids := t.Oids()
		err := f(&storage.Txn{Tid: t.Tid, User: t.User, Description: t.Description, Extension: t.Extension, Oids: oids})
		clear(oids) // it is valid during the call only
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) Done() <-chan struct{} { return s.done }

func (s *session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *session) Close() error {
	s.fail(errors.New("the session is closed"))
	s.sv.mu.Lock()
	s.sv.sessions = slices.DeleteFunc(s.sv.sessions, func(o *session) bool { return o == s })
	s.sv.mu.Unlock()
	s.running.Wait()
	return nil
}

// delays returns a function that returns delays up to d.
func delays(rnd *rand.Rand, d time.Duration) func() time.Duration {
	var mu sync.Mutex
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(rnd.Int64N(int64(d)))
	}
}
