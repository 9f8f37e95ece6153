package logging

import (
	"bytes"
	"sync"
)

// Queue is text on its way to a reader that may be slow, such as a terminal that was
// paused, a pipe that nobody reads, or a disk far away. The writers of the text never wait
// for that: text that finds no room is lost, and counted.
type Queue struct {
	max  int
	note func(texts, bytes int) []byte // tells how much was lost

	mu    sync.Mutex // held for copying only
	more  sync.Cond  // on mu
	data  bytes.Buffer
	texts int // that were lost since there was room
	bytes int // the same
	end   bool
}

// NewQueue returns a queue of at most max bytes, but for a note that stands where texts
// were lost.
func NewQueue(max int, note func(texts, bytes int) []byte) *Queue {
	q := &Queue{max: max, note: note}
	q.more.L = &q.mu
	return q
}

// Put appends a text if there is room for it.
func (q *Queue) Put(text []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.data.Len()+len(text) > q.max {
		q.texts++
		q.bytes += len(text)
	} else {
		q.noteLost()
		q.data.Write(text)
	}
	q.more.Signal()
}

func (q *Queue) noteLost() {
	if q.texts > 0 {
		q.data.Write(q.note(q.texts, q.bytes))
		q.texts, q.bytes = 0, 0
	}
}

// End says that nothing more will be put.
func (q *Queue) End() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.end = true
	q.more.Signal()
}

// Wait waits until there is something to take, or the end, where it returns false. One
// goroutine may wait.
func (q *Queue) Wait() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.data.Len() == 0 && q.texts == 0 && !q.end {
		q.more.Wait()
	}
	return q.data.Len() > 0 || q.texts > 0
}

// Take returns up to len(dest) bytes of what is there. A text may come in pieces.
func (q *Queue) Take(dest []byte) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.data.Len() == 0 {
		q.noteLost()
	}
	n, _ := q.data.Read(dest)
	return n
}
