package logging

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// maxQueue is how many bytes of the log may wait for whoever takes it.
const maxQueue = 1 << 20

// queue is the log on its way to somebody who may be slow, as a terminal that
// was paused, a pipe that nobody reads, or a disk far away. A caller never
// waits for that: a line that finds no room is lost, and counted.
type queue struct {
	max  int
	mu   sync.Mutex // held for copying only
	more *sync.Cond
	data bytes.Buffer
	lost int // bytes, since there was room
	end  bool
}

func newQueue(max int) *queue {
	q := &queue{max: max}
	q.more = sync.NewCond(&q.mu)
	return q
}

// fill puts what src gives into the queue, until src ends.
func (q *queue) fill(src io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		q.put(buf[:n], err != nil)
		if err != nil {
			return
		}
	}
}

func (q *queue) put(data []byte, end bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.data.Len()+len(data) > q.max {
		q.lost += len(data)
	} else {
		q.noteLost()
		q.data.Write(data)
	}
	q.end = q.end || end
	q.more.Signal()
}

// noteLost tells how much was lost. Requires: q.mu.
func (q *queue) noteLost() {
	if q.lost > 0 {
		fmt.Fprintf(&q.data, "W%s %7d logqueue.go] %d bytes of the log are lost: they were not taken in time\n",
			time.Now().Format("0102 15:04:05.000000"), os.Getpid(), q.lost)
		q.lost = 0
	}
}

// take waits for something and returns up to len(buf) bytes of it, 0 at the end.
func (q *queue) take(buf []byte) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.data.Len() == 0 && q.lost == 0 && !q.end {
		q.more.Wait()
	}
	if q.data.Len() == 0 {
		q.noteLost()
	}
	n, _ := q.data.Read(buf)
	return n
}
