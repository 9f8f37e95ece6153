package observe

import (
	"bytes"
	"sync"
)

// queue is the lines that one Reader has not read yet. It is bounded: lines that
// find no room are lost, and counted.
type queue struct {
	max  int                   // bytes
	note func(lost int) []byte // the line that tells how many were lost

	mu   sync.Mutex // held for copying only
	data bytes.Buffer
	lost int // since the last line that found room
}

func newQueue(max int, note func(lost int) []byte) *queue { return &queue{max: max, note: note} }

// put appends a line if there is room for it.
func (q *queue) put(line []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
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
}

// take returns up to len(dest) bytes of what is there. A line may come in pieces.
func (q *queue) take(dest []byte) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.data.Len() == 0 && q.lost > 0 {
		q.data.Write(q.note(q.lost))
		q.lost = 0
	}
	n, _ := q.data.Read(dest)
	return n
}
