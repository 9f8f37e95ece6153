package link

import (
	"io"
	"sync"
)

// outbox is the queue of what is to be written, so that whoever has a request, or reads,
// never waits for a server that does not read. The table of calls bounds it.
type outbox struct {
	wake chan struct{} // holds a token when there may be something to write

	mu      sync.Mutex
	pending []byte // guarded by mu
}

// keepRoom is how much memory the queue keeps while it is empty, in bytes.
const keepRoom = 64 << 10

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// put appends what add appends. It never blocks.
func (o *outbox) put(add func([]byte) []byte) {
	o.mu.Lock()
	o.pending = add(o.pending)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take returns what is to be written and leaves room in its place.
func (o *outbox) take(room []byte) []byte {
	if cap(room) > keepRoom {
		room = nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	pending := o.pending
	o.pending = room[:0]
	return pending
}

// writeTo writes until done is closed or w fails.
func (o *outbox) writeTo(w io.Writer, done <-chan struct{}) error {
	var written []byte
	for {
		select {
		case <-o.wake:
		case <-done:
			return nil
		}
		written = o.take(written)
		if _, err := w.Write(written); err != nil {
			return err
		}
	}
}
