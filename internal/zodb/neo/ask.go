package neo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
)

// How long is waited until a partition is tried again none of whose nodes has answered,
// if there is no news.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// elsewhereError says that a node did not answer as it should, and another one may.
type elsewhereError struct {
	err     error
	damaged bool // the node has an answer, which is damaged
}

func (e *elsewhereError) Error() string { return e.err.Error() }
func (e *elsewhereError) Unwrap() error { return e.err }

// fromPartition asks a node that has a partition, and others that have it if that one
// does not answer as it should, until ctx or the session ends. take looks at an answer;
// it returns an *elsewhereError to have another node asked. The error is nil, another one
// of take, a damage that all nodes have, the error of ctx, why the session has ended; or,
// if ctx ends while no node answers, why they do not.
func fromPartition[A neoproto.Message](ctx context.Context, s *session, partition int, m neoproto.Message, take func(A, error) error) error {
	var failed []*elsewhereError // of this round
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		nodes, changed := s.readable(partition)
		before := failed
		failed = nil
		for _, n := range nodes {
			err := askStorage(ctx, s, n, m, take)
			var elsewhere *elsewhereError
			switch {
			case errors.As(err, &elsewhere):
			case err != nil && err == ctx.Err() && len(before) > 0:
				return noAnswer(partition, before)
			default:
				return err
			}
			s.failed(n)
			elsewhere = &elsewhereError{fmt.Errorf("storage %s at %s: %w", n.id, n.addr, elsewhere.err), elsewhere.damaged}
			if failed = append(failed, elsewhere); elsewhere.damaged {
				s.warnf("%s: %s", s.cfg.URL(), elsewhere)
			}
		}
		if err := damage(failed); err != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-changed:
			pause = firstPause
		case <-timer.C:
		case <-s.Done():
			return s.Err()
		case <-ctx.Done():
			return noAnswer(partition, failed)
		}
		timer.Stop()
	}
}

// damage returns the damage that all nodes have, nil if there is another reason to hope.
func damage(failed []*elsewhereError) (err error) {
	for _, e := range failed {
		if !e.damaged {
			return nil
		}
		err = e.err
	}
	return err
}

// noAnswer says why nobody answers for a partition.
func noAnswer(partition int, failed []*elsewhereError) error {
	var why []string
	for _, e := range failed {
		why = append(why, e.Error())
	}
	if why == nil {
		why = []string{"no storage that has it is there"}
	}
	return fmt.Errorf("partition %d of the cluster cannot be read: %s", partition, strings.Join(why, "; "))
}

// askStorage asks one node. Errors are those of take.
func askStorage[A neoproto.Message](ctx context.Context, s *session, n *storageNode, m neoproto.Message, take func(A, error) error) error {
	p, err := s.storage(ctx, n)
	if err != nil {
		return s.elsewhere(ctx, err)
	}
	answer, err := ask[A](ctx, p, m)
	var refused *neoproto.Error
	if err != nil && !errors.As(err, &refused) {
		return s.elsewhere(ctx, err)
	}
	if err := take(answer, err); err != nil {
		return err
	}
	s.answered(n)
	return nil
}

// elsewhere has another node asked for a failure of the connection to this one.
func (s *session) elsewhere(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.Err() != nil:
		return s.Err()
	}
	return &elsewhereError{err: err}
}

// storage returns the connection to a node, and makes one if there is none. Of many who
// want it at a time one attempt is made. After one that failed there is none for a moment.
func (s *session) storage(ctx context.Context, n *storageNode) (*peer, error) {
	for {
		s.mu.Lock()
		switch {
		case n.peer != nil && n.peer.Err() == nil:
			defer s.mu.Unlock()
			return n.peer, nil
		case n.dialing == nil && n.failure != nil && time.Since(n.failedAt) < firstPause:
			defer s.mu.Unlock()
			return nil, n.failure
		case n.dialing == nil && s.ctx.Err() == nil:
			n.dialing = make(chan struct{})
			s.running.Go(func() { s.dialStorage(n) })
		}
		dialing := n.dialing
		s.mu.Unlock()
		select {
		case <-dialing:
		case <-s.Done():
			return nil, s.Err()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		s.mu.Lock()
		p, failure := n.peer, n.failure
		s.mu.Unlock()
		if failure != nil || p != nil { // which may have ended meanwhile
			return p, failure
		}
	}
}

// dialStorage makes the connection to a node, and waits for its end.
func (s *session) dialStorage(n *storageNode) {
	p, err := s.meetStorage(n)
	s.mu.Lock()
	if err == nil && (s.nodes[n.id] != n || n.state != neoproto.Running || s.ctx.Err() != nil) {
		p.Fail(errEnded) // nobody would end it who hears of that
		err = errEnded
	}
	if n.failure = err; err == nil {
		n.peer = p
	} else {
		n.failedAt = time.Now()
	}
	close(n.dialing)
	n.dialing = nil
	s.mu.Unlock()
	if p == nil {
		return
	}
	<-p.Done()
	_ = p.Close()
}

func (s *session) meetStorage(n *storageNode) (*peer, error) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, s.cfg.ConnectTimeout, errNoAnswer)
	defer cancel()
	p, err := meet(ctx, s.cfg, n.addr)
	if err != nil {
		return nil, err
	}
	p.start()
	s.mu.Lock()
	self, since := s.self, s.since
	s.mu.Unlock()
	accepted, err := ask[*neoproto.Accepted](ctx, p, &neoproto.Identify{Type: neoproto.Client, ID: self, Cluster: s.cfg.Cluster, Time: since})
	if err == nil && (accepted.Type != neoproto.StorageNode || accepted.ID != n.id || accepted.You != self) {
		err = &neoproto.ProtocolError{Msg: fmt.Sprintf("it is %s %s and takes this for %s; it should be storage %s, and this is %s", accepted.Type, accepted.ID, accepted.You, n.id, self)}
	}
	if err == nil {
		return p, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	p.Fail(err)
	_ = p.Close()
	return nil, err
}
