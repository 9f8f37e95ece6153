package wire

import (
	"bytes"
	"context"
	"sync"
)

// MaxOutput bounds the bytes that wait for a client to read them.
const MaxOutput = 256 << 10

// Output is a queue of bytes from the server to one client.
type Output struct {
	mu     sync.Mutex
	data   []byte
	inLine bool          // what was taken last was not the end of a line
	closed bool          // nothing more is put
	ended  bool          // and who has taken everything sees the end
	filled chan struct{} // closed and made anew when there is something to take
	room   chan struct{} // closed and made anew when something was taken
}

// NewOutput returns an empty one.
func NewOutput() *Output {
	return &Output{filled: make(chan struct{}), room: make(chan struct{})}
}

// TryPut appends a line if there is room for it. After the end it is dropped.
func (o *Output) TryPut(line string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return true
	}
	if len(o.data)+len(line) > MaxOutput {
		return false
	}
	o.data = append(o.data, line...)
	wake(&o.filled)
	return true
}

// Len returns how many bytes wait.
func (o *Output) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.data)
}

// NextRoom returns what is closed when something is taken after this call.
func (o *Output) NextRoom() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.room
}

// Put appends a line, when there is room for it.
func (o *Output) Put(ctx context.Context, line string) error {
	for {
		room := o.NextRoom()
		if o.TryPut(line) {
			return ctx.Err()
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Take returns up to len(dest) bytes, and 0 at the end. It waits for some.
func (o *Output) Take(ctx context.Context, dest []byte) (int, error) {
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

// Say replaces what was not taken yet by a last line, which may be empty. A line
// of which a part was taken stays. Nothing is put after it.
func (o *Output) Say(last string) {
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

// End makes the end seen by who has taken everything. Nothing is put after it.
func (o *Output) End() {
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
