package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// defaultTimeout is how long calls wait for a server if nobody says otherwise.
const defaultTimeout = 60 * time.Second

// Config says what a Storage is made of.
type Config struct {
	URL     string        // identity of the database, without secrets
	Dial    Dial          // connects to it
	Timeout time.Duration // how long calls wait for the server, 0: 60 s
	Wait    time.Duration // how long Open waits for the server, 0: not at all
	Options storage.Options
}

// Storage is a database behind a server. It implements storage.Storage,
// storage.Iterator, storage.Reachable, and storage.ManyLoader if its sessions do.
type Storage struct {
	cfg      Config
	together bool // sessions are storage.ManyLoader
	queue    *storage.EventQueue
	seen     memory

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	running  sync.WaitGroup // the supervisor
	closing  sync.Once
	closeErr error // of the session that was closed by Close; valid when running has ended

	mu      sync.Mutex
	conn    *conn         // guarded by mu; of the same history, nil: there is none
	lostAt  time.Time     // guarded by mu; since when conn is nil
	reach   storage.Reach // guarded by mu
	head    zodb.Tid      // guarded by mu
	down    error         // guarded by mu; why the supervisor gave up
	closed  bool          // guarded by mu
	changed chan struct{} // guarded by mu; closed when any of these changes, nil: nobody waits
}

var (
	_ storage.Storage    = (*Storage)(nil)
	_ storage.Iterator   = (*Storage)(nil)
	_ storage.Reachable  = (*Storage)(nil)
	_ storage.ManyLoader = (*Storage)(nil)
)

// Open connects, and returns the database with its head at0. ctx bounds the opening
// only. An error is that of the last Dial. Dial is repeated for Config.Wait as long as it
// says that the server cannot be reached: what is wrong for another reason stays wrong.
func Open(ctx context.Context, cfg Config) (_ *Storage, at0 zodb.Tid, err error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	s := &Storage{cfg: cfg, reach: storage.Reach{Up: true}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.queue = storage.NewEventQueue()
	v := &supervisor{Storage: s, dialed: time.Now()}
	c, err := v.open(ctx)
	if err != nil {
		s.cancel()
		return nil, 0, err
	}
	s.head, s.conn, v.solid = c.last, c, c.last
	_, s.together = storage.Many(c.session)
	s.running.Go(func() { v.run(c) })
	return s, c.last, nil
}

// dial makes a conn.
func (s *Storage) dial(ctx context.Context) (*conn, error) {
	c := newConn(s.ctx)
	session, last, err := s.cfg.Dial(ctx, c.commits)
	if err != nil {
		c.end(err)
		return nil, err
	}
	c.session, c.last = session, last
	if last != 0 && !last.Valid() { // 0: the database is empty
		err := fmt.Errorf("%s: the server says that its last transaction is %s, which is no tid", s.cfg.URL, last)
		c.end(err)
		return nil, errors.Join(err, session.Close())
	}
	return c, nil
}

// URL implements storage.Storage.
func (s *Storage) URL() string { return s.cfg.URL }

// Head implements storage.Storage.
func (s *Storage) Head() zodb.Tid {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head
}

// Reach implements storage.Reachable.
func (s *Storage) Reach() storage.Reach {
	s.mu.Lock()
	reach, c := s.reach, s.conn
	s.mu.Unlock()
	if cluster, ok := clusterOf(c); ok && reach.Up {
		reach.Nodes = cluster.Nodes()
	}
	return reach
}

func clusterOf(c *conn) (Cluster, bool) {
	if c == nil {
		return nil, false
	}
	cluster, ok := c.session.(Cluster)
	return cluster, ok
}

// NextEvent implements storage.Storage.
func (s *Storage) NextEvent(ctx context.Context) (storage.Event, error) {
	return s.queue.Next(ctx)
}

// Close implements storage.Storage.
func (s *Storage) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.signal()
		s.mu.Unlock()
		s.cancel()
		s.queue.End(io.EOF)
	})
	s.running.Wait()
	return s.closeErr
}

// usable returns why nothing works any more, nil otherwise. s.mu must be held.
func (s *Storage) usable() error {
	if s.closed {
		return storage.ErrClosed
	}
	return s.down
}

// signal wakes all who wait for a change. s.mu must be held.
func (s *Storage) signal() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// wait returns what is closed at the next change. s.mu must be held.
func (s *Storage) wait() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// publish makes transactions visible. They belong to it.
func (s *Storage) publish(group []storage.Event) {
	for i := range group {
		event := &group[i]
		slices.Sort(event.Oids)
		event.Oids = slices.Clip(slices.Compact(event.Oids))
		event.More = i+1 < len(group)
		s.seen.told(event.Tid, event.Oids)
	}
	s.mu.Lock()
	if !s.closed { // else the stream has ended, and head must not be beyond it
		for _, event := range group {
			s.head = event.Tid
			s.queue.Put(event) // does not block
		}
		s.signal()
	}
	s.mu.Unlock()
	if n := s.queue.Grown(); n > 0 {
		s.cfg.Options.Warn("%s: %d transactions wait to be processed", s.cfg.URL, n)
	}
}

// use has loads go to c.
func (s *Storage) use(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != c { // the first one is there from the beginning
		s.reach.Reconnects++
	}
	s.conn = c
	s.signal()
}

// lose has calls wait for the next conn, and reports whether this begins an outage.
func (s *Storage) lose(why error) (begins bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.conn != nil {
		s.conn, s.lostAt = nil, now
	}
	begins = s.reach.Up
	if begins {
		s.reach.Up, s.reach.Since = false, now
	}
	s.reach.Err = why
	s.signal()
	return begins
}

// regain ends the outage, if there is one, and returns how long it was.
func (s *Storage) regain() (took time.Duration, outage bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reach.Up {
		return 0, false
	}
	took = time.Since(s.reach.Since)
	s.reach.Up, s.reach.Since, s.reach.Err = true, time.Time{}, nil
	return took, true
}

// giveUp ends the storage.
func (s *Storage) giveUp(why *storage.DownError) {
	s.lose(why)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = why
	s.queue.End(why) // before anybody knows, who may Close
	s.signal()
}
