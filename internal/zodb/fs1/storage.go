package fs1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// config holds what tests change.
type config struct {
	scanLimit int64            // saved indices are not used for files up to this size
	patience  time.Duration    // how long something wrong must last until it is told
	tick      time.Duration    // between looks without a notification
	now       func() time.Time // clock for patience
}

func defaultConfig() config {
	return config{
		scanLimit: fsformat.ScanLimit,
		patience:  3 * time.Second,
		tick:      time.Second,
		now:       time.Now,
	}
}

// Storage is an open FileStorage database. It implements storage.Storage and
// storage.Iterator.
type Storage struct {
	path string
	url  string // without secrets
	opt  storage.Options
	cfg  config

	queue    *storage.EventQueue
	loaders  sync.Pool       // of *loader
	requests chan chan error // to the follower: run a pass, tell its result
	followed chan struct{}   // closed when the follower ended
	running  sync.WaitGroup  // follower and index rebuilds
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	closing  sync.Once
	closeErr error // result of Close; valid after closing

	mu       sync.RWMutex
	cur      *dataFile    // guarded by mu; what the path names, as far as known
	curFrom  zodb.Tid     // guarded by mu; views before this one may be incomplete in cur
	old      *dataFile    // guarded by mu; what it named before, or nil
	oldFrom  zodb.Tid     // guarded by mu; views before this one may be incomplete in old
	switchAt zodb.Tid     // guarded by mu; head when cur replaced old
	past     []generation // guarded by mu; what it named before that, oldest first
	opened   *dataFile    // guarded by mu; the first of all
	complete zodb.Tid     // guarded by mu; result of Packs
	newest   zodb.Tid     // guarded by mu; result of Packs
	keeping  bool         // guarded by mu; Keep was called
	keepFrom zodb.Tid     // guarded by mu; argument of Keep
	head     zodb.Tid     // guarded by mu
	down     error        // guarded by mu; why the follower ended
	closed   bool         // guarded by mu
}

var (
	_ storage.Storage  = (*Storage)(nil)
	_ storage.Iterator = (*Storage)(nil)
	_ storage.Packed   = (*Storage)(nil)
	_ storage.Opener   = Open
)

func newStorage(ctx context.Context, path string, u storage.URL, opt storage.Options, cfg config) *Storage {
	s := &Storage{
		path:     path,
		url:      storage.Redact(u.Raw),
		opt:      opt,
		cfg:      cfg,
		requests: make(chan chan error),
		followed: make(chan struct{}),
	}
	s.loaders.New = func() any { return new(loader) }
	s.queue = storage.NewEventQueue()
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// URL implements storage.Storage.
func (s *Storage) URL() string { return s.url }

// Head implements storage.Storage.
func (s *Storage) Head() zodb.Tid {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.head
}

// DataFile returns the absolute path of the database.
func (s *Storage) DataFile() string { return s.path }

// Backlog returns how many transactions wait for NextEvent.
func (s *Storage) Backlog() int { return s.queue.Len() }

// NextEvent implements storage.Storage.
func (s *Storage) NextEvent(ctx context.Context) (storage.Event, error) {
	return s.queue.Next(ctx)
}

// Sync implements storage.Storage: it has the follower run one pass that
// starts after the call.
func (s *Storage) Sync(ctx context.Context) (zodb.Tid, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	reply := make(chan error, 1)
	select {
	case s.requests <- reply:
	case <-s.followed:
		return 0, s.whyDown()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case err := <-reply: // the follower answers every request that it took
		return s.syncResult(err)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// syncResult returns what Sync does when its pass ended with err.
func (s *Storage) syncResult(err error) (zodb.Tid, error) {
	var down *storage.DownError
	switch {
	case err == nil:
		return s.Head(), nil
	case errors.As(err, &down), errors.Is(err, storage.ErrClosed):
		return 0, err
	}
	return 0, fmt.Errorf("%s: sync: %w", s.url, err)
}

// whyDown returns the error of operations that need the follower when there
// is none.
func (s *Storage) whyDown() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed || s.down == nil {
		return storage.ErrClosed
	}
	return s.down
}

// Close implements storage.Storage.
func (s *Storage) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.cancel()
		s.queue.End(io.EOF)
		s.running.Wait()
		s.closeErr = s.closeFiles()
	})
	return s.closeErr
}

// closeFiles closes all files; nobody uses or replaces them any more.
func (s *Storage) closeFiles() error {
	err := s.cur.f.Close()
	if s.old != nil {
		err = errors.Join(err, s.old.f.Close())
	}
	for _, g := range s.past {
		err = errors.Join(err, g.file.f.Close())
	}
	return err
}

// start runs f in a goroutine that Close waits for, unless it is too late.
func (s *Storage) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Go(f)
	return true
}

// publish makes a transaction, which is in the index already, visible.
func (s *Storage) publish(tid zodb.Tid, oids []zodb.Oid) {
	s.mu.Lock()
	s.head = tid
	s.queue.Put(storage.Event{Tid: tid, Oids: oids}) // does not block
	s.mu.Unlock()
	if n := s.queue.Grown(); n > 0 {
		s.opt.Warn("%s: %d transactions wait to be processed", s.url, n)
	}
}
