package neo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// session is a connection to the primary master of a cluster, with those to storages. It
// implements remote.Session.
type session struct {
	*cluster
	cfg     *Config
	warnf   func(format string, args ...any)
	master  *peer
	commits remote.Commits

	// last is the newest transaction that is known. Answers of the master come behind
	// the commits that it has told before, so a newer one in an answer was not told.
	last    atomic.Uint64
	untold  chan struct{}   // holds a token when the master is to be asked for its last transaction
	ctx     context.Context // ends with the session
	cancel  context.CancelFunc
	running sync.WaitGroup
}

var _ remote.Session = (*session)(nil)

// newSession takes over a connection to a master that has said hello. It is to be
// started.
func newSession(master *peer, cfg *Config, warnf func(string, ...any), commits remote.Commits) *session {
	s := &session{cluster: newCluster(), cfg: cfg, warnf: warnf, master: master, commits: commits, untold: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	master.notify = s.notify
	return s
}

// Done implements remote.Session.
func (s *session) Done() <-chan struct{} { return s.master.Done() }

// Err implements remote.Session.
func (s *session) Err() error { return s.master.Err() }

// Close implements remote.Session.
func (s *session) Close() error {
	s.cancel()
	err := s.master.Close()
	s.mu.Lock()
	for _, n := range s.nodes {
		if n.peer != nil {
			n.peer.Fail(errEnded)
		}
	}
	s.mu.Unlock()
	s.running.Wait()
	return err
}

// errEnded is what connections to storages end with that are not needed any more.
var errEnded = errors.New("the connection to the master has ended")

// errNotPrimary says that a master is not the primary one, and which are.
type errNotPrimary struct{ *neoproto.NotPrimary }

func (e *errNotPrimary) Error() string { return "it is not the primary master" }

// notify takes what the master tells unasked.
func (s *session) notify(m neoproto.Message) error {
	switch m := m.(type) {
	case *neoproto.Commit:
		s.tell(m.Tid) // its objects are asked for: those that it deletes are left out
		return nil
	case *neoproto.Nodes:
		gone, err := s.takeNodes(m)
		for _, p := range gone {
			p.Fail(errors.New("the master says that it is not there any more"))
		}
		return err
	case *neoproto.Table:
		return s.takeTable(m)
	case *neoproto.TableChanges:
		return s.takeChanges(m)
	case *neoproto.ClusterNews: // what follows from it is told, too
		return nil
	case *neoproto.NotPrimary:
		return &errNotPrimary{m}
	case *neoproto.Stop:
		return errors.New("the cluster is not operational any more: storages are missing, or it is being stopped")
	}
	return unexpected(m)
}

// tell tells of a transaction. A tid that is wrong, the common part refuses.
func (s *session) tell(tid zodb.Tid) {
	s.learn(tid)
	s.commits(tid, nil)
}

// learn notes that there is a transaction.
func (s *session) learn(tid zodb.Tid) {
	for last := s.last.Load(); last < uint64(tid) && !s.last.CompareAndSwap(last, uint64(tid)); {
		last = s.last.Load()
	}
}

// Last implements remote.Session.
func (s *session) Last(ctx context.Context) (zodb.Tid, error) {
	m, err := ask[*neoproto.Last](ctx, s.master, &neoproto.AskLast{})
	if err != nil {
		return 0, wrap(err, "ask for the last transaction")
	}
	if uint64(m.Tid) > s.last.Load() {
		select {
		case s.untold <- struct{}{}:
		default:
		}
	}
	return m.Tid, nil
}

// usualPoll is how often a master is asked for what it has not told.
const usualPoll = time.Second

// poll asks the master now and then for its last transaction, and tells of those that it
// has not told: a cluster that is the backup of another one tells nothing.
func (s *session) poll(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.untold:
		case <-s.master.Done():
			return
		}
		if err := s.tellUntold(); err != nil && s.ctx.Err() == nil {
			s.master.Fail(fmt.Errorf("ask for transactions that were not told: %w", err))
			return
		}
	}
}

func (s *session) tellUntold() error {
	m, err := ask[*neoproto.Last](s.ctx, s.master, &neoproto.AskLast{})
	if err != nil {
		return err
	}
	told := zodb.Tid(s.last.Load())
	if m.Tid <= told {
		return nil
	}
	err = s.Transactions(s.ctx, told+1, m.Tid, func(t *storage.Txn) error {
		if t.Tid < m.Tid {
			s.tell(t.Tid)
		}
		return nil
	})
	if err == nil {
		s.tell(m.Tid) // also if there is none: it is a view of the cluster
	}
	return err
}

// wrap says what was attempted. Errors of contexts stay as they are.
func wrap(err error, format string, args ...any) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
