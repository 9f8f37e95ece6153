package observe

import (
	"bytes"
	"context"
	"io"
	"sync"
)

// queue is the lines that one Reader has not read yet. It is bounded: lines that
// find no room are lost, and counted.
type queue struct {
	max  int                   // bytes
	note func(lost int) []byte // the line that tells how many were lost
	wake chan struct{}         // of capacity 1; there may be something to take

	mu     sync.Mutex // held for copying only
	data   bytes.Buffer
	lost   int // since the last line that found room
	closed bool
}

func newQueue(max int, note func(lost int) []byte) *queue {
	return &queue{max: max, note: note, wake: make(chan struct{}, 1)}
}

// put appends a line if there is room for it.
func (q *queue) put(line []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	var note []byte
	if q.lost > 0 {
		note = q.note(q.lost)
	}
	if q.data.Len()+len(note)+len(line) > q.max {
		q.lost++
		return
	}
	q.data.Write(note)
	q.data.Write(line)
	q.lost = 0
	q.signal()
}

// take waits for something and returns up to len(dest) bytes of it, and io.EOF
// after close. A line may come in pieces.
func (q *queue) take(ctx context.Context, dest []byte) (int, error) {
	for {
		if n, err := q.tryTake(dest); n > 0 || err != nil || len(dest) == 0 {
			return n, err
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (q *queue) tryTake(dest []byte) (n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.data.Len() == 0 && q.lost > 0 {
		q.data.Write(q.note(q.lost))
		q.lost = 0
	}
	n, _ = q.data.Read(dest)
	if n == 0 && q.closed {
		err = io.EOF
	}
	if q.data.Len() > 0 || q.closed {
		q.signal() // for others that read the same
	}
	return n, err
}

// close ends the queue. What is in it can still be taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// signal wakes one that waits, now or the next time. Requires: q.mu.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
