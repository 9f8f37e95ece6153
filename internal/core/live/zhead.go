package live

import (
	"context"
	"io"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// subscriptionQueue is how many transactions a subscriber may lag behind.
const subscriptionQueue = 1024

// Subscription is told every transaction that is published. A subscriber who
// does not listen is dropped: nobody waits for him.
type Subscription struct {
	head  *Head
	queue chan zodb.Tid // closed when dropped or cancelled
}

// Subscribe returns a new subscription, which must be cancelled.
func (h *Head) Subscribe() *Subscription {
	s := &Subscription{head: h, queue: make(chan zodb.Tid, subscriptionQueue)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.zhead[s] = struct{}{}
	return s
}

// tell queues tids for s, or drops s if it is too far behind.
func (h *Head) tell(s *Subscription, tids []zodb.Tid) {
	h.mu.MustHold()
	for _, tid := range tids {
		select {
		case s.queue <- tid:
		default:
			h.cfg.Observer.Warnf("a reader of zhead does not read: dropped after %d transactions", subscriptionQueue)
			delete(h.zhead, s)
			close(s.queue)
			return
		}
	}
}

// Next returns the next published transaction, and io.EOF when the subscription
// was dropped or cancelled.
func (s *Subscription) Next(ctx context.Context) (zodb.Tid, error) {
	select {
	case tid, ok := <-s.queue:
		if !ok {
			return 0, io.EOF
		}
		return tid, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Cancel ends the subscription.
func (s *Subscription) Cancel() {
	s.head.mu.Lock()
	defer s.head.mu.Unlock()
	if _, ok := s.head.zhead[s]; ok {
		delete(s.head.zhead, s)
		close(s.queue)
	}
}

// Subscriptions returns how many subscriptions there are.
func (h *Head) Subscriptions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.zhead)
}
