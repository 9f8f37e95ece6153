package harness

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

// ToHead is the revision of a pin that says "map the block from head again".
const ToHead zodb.Tid = math.MaxUint64

// WatchPin is a pin as it was received.
type WatchPin struct {
	Stream uint64
	Oid    zodb.Oid
	Blk    int64
	Rev    zodb.Tid // or ToHead
}

// WatchLink is the client's end of one open of head/watch. It knows nothing of
// tests, so that helper processes can use it, and does not touch mapped memory.
type WatchLink struct {
	FD int

	Mu      sync.Mutex
	wake    chan struct{} // closed and made anew when something below changes
	Acks    bool          // acknowledge pins at once
	OnPin   func(WatchPin) error
	stream  uint64                          // of the next request
	Replies map[uint64]string               // not taken yet
	control []string                        // messages on stream 0
	Queue   []WatchPin                      // received, not acknowledged
	Seen    []WatchPin                      // received since takeSeen
	Held    map[zodb.Oid]map[int64]zodb.Tid // acknowledged
	NPins   int                             // pins received
	err     error                           // what was received makes no sense
	eof     bool
	closed  chan struct{} // the reader has ended
}

// OpenWatchLink opens head/watch. With auto, pins are acknowledged at once.
func OpenWatchLink(path string, auto bool) (*WatchLink, error) {
	fd, err := OpenFile(path, unix.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	l := &WatchLink{
		FD: fd, Acks: auto, stream: 1,
		wake:    make(chan struct{}),
		Replies: make(map[uint64]string),
		Held:    make(map[zodb.Oid]map[int64]zodb.Tid),
		closed:  make(chan struct{}),
	}
	go l.receive()
	return l, nil
}

// receive takes what the server says until it says nothing more.
func (l *WatchLink) receive() {
	defer close(l.closed)
	var data []byte
	buf := make([]byte, 4096)
	for {
		n := 0
		err := Uninterrupted(func() (err error) {
			n, err = unix.Read(l.FD, buf)
			return err
		})
		if err != nil || n == 0 {
			l.Change(func() { l.eof = true })
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

// Change changes the state and tells those who wait.
func (l *WatchLink) Change(f func()) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	f()
	close(l.wake)
	l.wake = make(chan struct{})
}

// take takes one line of the server.
func (l *WatchLink) take(line string) {
	var stream uint64
	number, msg, _ := strings.Cut(line, " ")
	if _, err := fmt.Sscanf(number, "%d", &stream); err != nil || len(msg) > 246 || msg == "" {
		l.Change(func() { l.err = fmt.Errorf("bad frame %q", line) })
		return
	}
	switch {
	case stream == 0:
		l.Change(func() { l.control = append(l.control, msg) })
	case stream%2 == 1:
		l.Change(func() { l.Replies[stream] = msg })
	default:
		p, err := parseWatchPin(stream, msg)
		auto := false
		l.Change(func() {
			l.err, auto = err, l.Acks
			l.NPins++
			l.Queue = append(l.Queue, p)
			l.Seen = append(l.Seen, p)
		})
		if err == nil && auto {
			_ = l.ack(p)
		}
	}
}

// parseWatchPin parses exactly what the protocol permits.
func parseWatchPin(stream uint64, msg string) (WatchPin, error) {
	p := WatchPin{Stream: stream}
	var rev string
	_, err := fmt.Sscanf(msg, "pin %x #%d @%s", &p.Oid, &p.Blk, &rev)
	if rev == "head" {
		p.Rev = ToHead
	} else if err == nil {
		_, err = fmt.Sscanf(rev, "%x", &p.Rev)
		rev = p.Rev.String()
	}
	if err == nil && msg != fmt.Sprintf("pin %s #%d @%s", p.Oid, p.Blk, rev) {
		err = fmt.Errorf("bad pin %q", msg)
	}
	return p, err
}

// ack notes that the block is mapped as p says, and tells so.
func (l *WatchLink) ack(p WatchPin) error {
	if l.OnPin != nil {
		if err := l.OnPin(p); err != nil {
			return err
		}
	}
	l.Change(func() {
		l.Queue = slices.DeleteFunc(l.Queue, func(q WatchPin) bool { return q.Stream == p.Stream })
		if l.Held[p.Oid] == nil {
			l.Held[p.Oid] = make(map[int64]zodb.Tid)
		}
		if p.Rev == ToHead {
			delete(l.Held[p.Oid], p.Blk)
		} else {
			l.Held[p.Oid][p.Blk] = p.Rev
		}
	})
	return l.write(fmt.Sprintf("%d ack\n", p.Stream))
}

func (l *WatchLink) write(text string) error {
	n, err := unix.Write(l.FD, []byte(text))
	if err == nil && n != len(text) {
		err = fmt.Errorf("%d of %d bytes written", n, len(text))
	}
	return err
}

// TrySend sends a request and returns its stream.
func (l *WatchLink) TrySend(msg string) (stream uint64, err error) {
	l.Change(func() {
		stream = l.stream
		l.stream += 2
	})
	return stream, l.write(fmt.Sprintf("%d %s\n", stream, msg))
}

// await waits until ok, which is called with the lock, returns true. It gives
// up when nothing more can come.
func (l *WatchLink) await(ok func() bool) error {
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for {
		l.Mu.Lock()
		done, eof, err, wake := ok(), l.eof, l.err, l.wake
		l.Mu.Unlock()
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

// TryReply waits for the reply to a request.
func (l *WatchLink) TryReply(stream uint64) (msg string, err error) {
	err = l.await(func() (ok bool) {
		if msg, ok = l.Replies[stream]; ok {
			delete(l.Replies, stream)
		}
		return ok
	})
	return msg, err
}

// TryAsk sends a request and waits for the reply.
func (l *WatchLink) TryAsk(msg string) (string, error) {
	stream, err := l.TrySend(msg)
	if err != nil {
		return "", err
	}
	return l.TryReply(stream)
}

// WatchRequest is the request to watch a file at a view.
func WatchRequest(oid zodb.Oid, at zodb.Tid) string { return fmt.Sprintf("watch %s @%s", oid, at) }

// Drop closes without saying bye. The reader has to be woken by the server, or
// by others that have the file open.
func (l *WatchLink) Drop() { unix.Close(l.FD) }

// Bye ends the link and waits until the server has.
func (l *WatchLink) Bye() error {
	if _, err := l.TrySend("bye"); err != nil {
		return err
	}
	<-l.closed
	l.Drop()
	return nil
}
