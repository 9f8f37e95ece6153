package t

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// toHead is the revision of a pin that says "map the block from head again".
const toHead zodb.Tid = math.MaxUint64

// watchPin is a pin as it was received.
type watchPin struct {
	stream uint64
	oid    zodb.Oid
	blk    int64
	rev    zodb.Tid // or toHead
}

// watchLink is the client's end of one open of head/watch. It knows nothing of
// tests, so that helper processes can use it, and does not touch mapped memory.
type watchLink struct {
	fd int

	mu      sync.Mutex
	wake    chan struct{} // closed and made anew when something below changes
	auto    bool          // acknowledge pins at once
	onPin   func(watchPin) error
	stream  uint64                          // of the next request
	replies map[uint64]string               // not taken yet
	control []string                        // messages on stream 0
	queue   []watchPin                      // received, not acknowledged
	seen    []watchPin                      // received since takeSeen
	pinned  map[zodb.Oid]map[int64]zodb.Tid // acknowledged
	npins   int                             // pins received
	err     error                           // what was received makes no sense
	eof     bool
	closed  chan struct{} // the reader has ended
}

// openWatchLink opens head/watch. With auto, pins are acknowledged at once.
func openWatchLink(path string, auto bool) (*watchLink, error) {
	fd, err := openFile(path, unix.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	l := &watchLink{
		fd: fd, auto: auto, stream: 1,
		wake:    make(chan struct{}),
		replies: make(map[uint64]string),
		pinned:  make(map[zodb.Oid]map[int64]zodb.Tid),
		closed:  make(chan struct{}),
	}
	go l.receive()
	return l, nil
}

// receive takes what the server says until it says nothing more.
func (l *watchLink) receive() {
	defer close(l.closed)
	var data []byte
	buf := make([]byte, 4096)
	for {
		n := 0
		err := uninterrupted(func() (err error) {
			n, err = unix.Read(l.fd, buf)
			return err
		})
		if err != nil || n == 0 {
			l.change(func() { l.eof = true })
			return
		}
		data = append(data, buf[:n]...)
		for {
			line, rest, ok := strings.Cut(string(data), "\n")
			if !ok {
				break
			}
			data = []byte(rest)
			l.take(line)
		}
	}
}

// change changes the state and tells those who wait.
func (l *watchLink) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.wake)
	l.wake = make(chan struct{})
}

// take takes one line of the server.
func (l *watchLink) take(line string) {
	var stream uint64
	number, msg, _ := strings.Cut(line, " ")
	if _, err := fmt.Sscanf(number, "%d", &stream); err != nil || len(msg) > 246 || msg == "" {
		l.change(func() { l.err = fmt.Errorf("bad frame %q", line) })
		return
	}
	switch {
	case stream == 0:
		l.change(func() { l.control = append(l.control, msg) })
	case stream%2 == 1:
		l.change(func() { l.replies[stream] = msg })
	default:
		p, err := parseWatchPin(stream, msg)
		auto := false
		l.change(func() {
			l.err, auto = err, l.auto
			l.npins++
			l.queue = append(l.queue, p)
			l.seen = append(l.seen, p)
		})
		if err == nil && auto {
			_ = l.ack(p)
		}
	}
}

// parseWatchPin parses exactly what the protocol permits.
func parseWatchPin(stream uint64, msg string) (watchPin, error) {
	p := watchPin{stream: stream}
	var rev string
	_, err := fmt.Sscanf(msg, "pin %x #%d @%s", &p.oid, &p.blk, &rev)
	if rev == "head" {
		p.rev = toHead
	} else if err == nil {
		_, err = fmt.Sscanf(rev, "%x", &p.rev)
		rev = p.rev.String()
	}
	if err == nil && msg != fmt.Sprintf("pin %s #%d @%s", p.oid, p.blk, rev) {
		err = fmt.Errorf("bad pin %q", msg)
	}
	return p, err
}

// ack notes that the block is mapped as p says, and tells so.
func (l *watchLink) ack(p watchPin) error {
	if l.onPin != nil {
		if err := l.onPin(p); err != nil {
			return err
		}
	}
	l.change(func() {
		l.queue = slices.DeleteFunc(l.queue, func(q watchPin) bool { return q.stream == p.stream })
		if l.pinned[p.oid] == nil {
			l.pinned[p.oid] = make(map[int64]zodb.Tid)
		}
		if p.rev == toHead {
			delete(l.pinned[p.oid], p.blk)
		} else {
			l.pinned[p.oid][p.blk] = p.rev
		}
	})
	return l.write(fmt.Sprintf("%d ack\n", p.stream))
}

func (l *watchLink) write(text string) error {
	n, err := unix.Write(l.fd, []byte(text))
	if err == nil && n != len(text) {
		err = fmt.Errorf("%d of %d bytes written", n, len(text))
	}
	return err
}

// send sends a request and returns its stream.
func (l *watchLink) send(msg string) (stream uint64, err error) {
	l.change(func() {
		stream = l.stream
		l.stream += 2
	})
	return stream, l.write(fmt.Sprintf("%d %s\n", stream, msg))
}

// await waits until ok, which is called with the lock, returns true. It gives
// up when nothing more can come.
func (l *watchLink) await(ok func() bool) error {
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for {
		l.mu.Lock()
		done, eof, err, wake := ok(), l.eof, l.err, l.wake
		l.mu.Unlock()
		switch {
		case err != nil:
			return err
		case done:
			return nil
		case eof:
			return fmt.Errorf("link is down: %q", l.control)
		}
		select {
		case <-wake:
		case <-timeout.C:
			return fmt.Errorf("the server says nothing for 20 s")
		}
	}
}

// reply waits for the reply to a request.
func (l *watchLink) reply(stream uint64) (msg string, err error) {
	err = l.await(func() (ok bool) {
		if msg, ok = l.replies[stream]; ok {
			delete(l.replies, stream)
		}
		return ok
	})
	return msg, err
}

// ask sends a request and waits for the reply.
func (l *watchLink) ask(msg string) (string, error) {
	stream, err := l.send(msg)
	if err != nil {
		return "", err
	}
	return l.reply(stream)
}

// watchRequest is the request to watch a file at a view.
func watchRequest(oid zodb.Oid, at zodb.Tid) string { return fmt.Sprintf("watch %s @%s", oid, at) }

// close closes without saying bye. The reader has to be woken by the server, or
// by others that have the file open.
func (l *watchLink) close() { unix.Close(l.fd) }

// bye ends the link and waits until the server has.
func (l *watchLink) bye() error {
	if _, err := l.send("bye"); err != nil {
		return err
	}
	<-l.closed
	l.close()
	return nil
}
