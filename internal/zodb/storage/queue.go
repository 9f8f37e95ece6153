package storage

import (
	"context"
	"sync"
)

// EventQueue is the unbounded queue between a driver and the one consumer of
// its events. Any number of goroutines may call anything but Next.
type EventQueue struct {
	wake chan struct{} // holds a token when there may be something new for Next

	mu     sync.Mutex
	events []Event // guarded by mu; the first is at events[first]
	first  int     // guarded by mu
	end    error   // guarded by mu; what follows the events, nil: not ended
	high   int     // guarded by mu; next length that Grown tells
}

// highWater is how many events may wait before this is worth a warning.
const highWater = 1 << 16

// NewEventQueue returns an empty queue.
func NewEventQueue() *EventQueue {
	return &EventQueue{wake: make(chan struct{}, 1), high: highWater}
}

// Put appends ev. It never blocks. After End it does nothing.
func (q *EventQueue) Put(ev Event) {
	q.mu.Lock()
	if q.end == nil {
		q.events = append(q.events, ev)
	}
	q.mu.Unlock()
	q.signal()
}

// Grown returns the length when the queue has become so long that it is worth a warning,
// then at each doubling; else 0. It is for whoever puts.
func (q *EventQueue) Grown() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.events) - q.first
	if n < q.high {
		return 0
	}
	for q.high <= n {
		q.high *= 2
	}
	return n
}

// End says that err follows the events put so far. The first call counts.
func (q *EventQueue) End(err error) {
	q.mu.Lock()
	if q.end == nil {
		q.end = err
	}
	q.mu.Unlock()
	q.signal()
}

func (q *EventQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Next removes and returns the oldest event. It waits for one until ctx is
// done. When the queue is empty and ended, it returns the error given to End,
// for ever.
func (q *EventQueue) Next(ctx context.Context) (Event, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Event{}, err
		}
		if ev, err, ok := q.pop(); ok {
			return ev, err
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
		}
	}
}

func (q *EventQueue) pop() (ev Event, err error, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first == len(q.events) {
		return Event{}, q.end, q.end != nil
	}
	ev = q.events[q.first]
	q.events[q.first] = Event{}
	q.first++
	// Consumed events are dropped once they are half of the array.
	if q.first*2 >= len(q.events) {
		n := copy(q.events, q.events[q.first:])
		clear(q.events[n:])
		q.events = q.events[:n]
		q.first = 0
	}
	return ev, nil, true
}

// Len returns the number of events that wait.
func (q *EventQueue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events) - q.first
}
