package isolation

import (
	"bytes"
	"context"
	"sync"
)

// maxOutput bounds the bytes that wait for a client to read them.
const maxOutput = 256 << 10

// output is a queue of bytes from the server to one client.
type output struct {
	mu     sync.Mutex
	data   []byte
	inLine bool          // what was taken last was not the end of a line
	closed bool          // nothing more is put
	ended  bool          // and who has taken everything sees the end
	filled chan struct{} // closed and made anew when there is something to take
	room   chan struct{} // closed and made anew when something was taken
}

func newOutput() *output {
	return &output{filled: make(chan struct{}), room: make(chan struct{})}
}

// tryPut appends a line if there is room for it. After the end it is dropped.
func (o *output) tryPut(line string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return true
	}
	if len(o.data)+len(line) > maxOutput {
		return false
	}
	o.data = append(o.data, line...)
	wake(&o.filled)
	return true
}

// nextRoom returns what is closed when something is taken after this call.
func (o *output) nextRoom() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.room
}

// put appends a line, when there is room for it.
func (o *output) put(ctx context.Context, line string) error {
	for {
		room := o.nextRoom()
		if o.tryPut(line) {
			return ctx.Err()
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take returns up to len(dest) bytes, and 0 at the end. It waits for some.
func (o *output) take(ctx context.Context, dest []byte) (int, error) {
	for {
		o.mu.Lock()
		if len(o.data) > 0 || o.ended {
			n := copy(dest, o.data)
			if n > 0 {
				o.inLine = o.data[n-1] != '\n'
			}
			o.data = o.data[n:]
			wake(&o.room)
			o.mu.Unlock()
			return n, nil
		}
		filled := o.filled
		o.mu.Unlock()
		select {
		case <-filled:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// say replaces what was not taken yet by a last line, which may be empty. A line
// of which a part was taken stays. Nothing is put after it.
func (o *output) say(last string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	rest := o.data[:0]
	if o.inLine {
		rest = o.data[:bytes.IndexByte(o.data, '\n')+1]
	}
	o.data, o.closed = append(rest[:len(rest):len(rest)], last...), true
	wake(&o.filled)
	wake(&o.room)
}

// end makes the end seen by who has taken everything. Nothing is put after it.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.ended = true, true
	wake(&o.filled)
	wake(&o.room)
}

// wake wakes all who wait for *c.
func wake(c *chan struct{}) {
	close(*c)
	*c = make(chan struct{})
}
