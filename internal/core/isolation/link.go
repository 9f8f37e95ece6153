package isolation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/lock"
	"github.com/wcfs/wcfs/internal/core/wire"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

const (
	// maxRequests bounds the requests of a link that are in progress or wait.
	maxRequests = 128

	// maxPins bounds the pins of a link that wait for their acknowledgement, without
	// those that a READ waits for, which may be as many again. More wait for their
	// turn, without time running for them.
	maxPins = 1024
)

// ErrDown is the answer of a link that is shut down.
var ErrDown = errors.New("link is down")

// downReason says why a link is shut down.
type downReason int

const (
	downBye      downReason = iota // the client said so
	downEOF                        // the client closed without saying so
	downDied                       // the client has ended
	downProtocol                   // the client broke the protocol
	downPin                        // a pin was not acknowledged
	downLost                       // what a watch shows is gone
	downStopped                    // the server stops
)

// Link is one open of head/watch.
type Link struct {
	engine *Engine
	id     uint64
	proc   Process
	ctx    context.Context // ends when the link is down
	cancel context.CancelFunc
	wg     sync.WaitGroup // request workers and senders of pins
	out    *wire.Output
	dead   chan struct{} // closed when the client has ended

	room chan struct{} // holds a token for each pin under way that a READ waits for
	slow atomic.Bool   // the last of them was not answered within its turn

	attended context.Context // ends when nothing of the link is left
	leave    context.CancelFunc

	mu       lock.Mutex
	input    wire.Input
	watches  map[zodb.Oid]*live.Watch // set up, or being set up
	removed  map[zodb.Oid]*live.Watch // removed; messages of them may be under way
	requests map[zodb.Oid][]request   // waiting for their turn, by file; an entry means that a worker runs
	nreq     int                      // requests in progress or waiting
	waiting  map[zodb.Oid]func()      // of requests that wait for their view: ends that
	messages map[uint64]*message      // pins waiting for their acknowledgement, by stream
	stream   uint64                   // of the last pin
	forgiven uint64                   // answers to pins up to here may come and mean nothing
	urgent   queue                    // READs wait for these; they have one sender
	wanted   queue                    // the others, with maxPins senders at most
	down     bool
	reason   downReason
	failure  *pinError // of the first pin that failed
}

// request is a watch request with its stream.
type request struct {
	stream uint64
	wire.WatchRequest
}

// ErrTooManyLinks refuses a link more than the server has descriptors for.
var ErrTooManyLinks = &fault.Error{Kind: fault.TooMany, Msg: "too many links are open"}

// Open returns a new link of the client that find finds, whom it takes over. A
// client that has a large part of all links gets no more of them, so that there
// are some for others.
func (e *Engine) Open(find func() (Process, error)) (*Link, error) {
	if err := e.reserve(); err != nil {
		return nil, err
	}
	proc, err := find()
	if err != nil {
		e.unreserve()
		return nil, err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	l := &Link{
		engine:   e,
		proc:     proc,
		ctx:      ctx,
		cancel:   cancel,
		out:      wire.NewOutput(),
		dead:     make(chan struct{}),
		watches:  make(map[zodb.Oid]*live.Watch),
		removed:  make(map[zodb.Oid]*live.Watch),
		requests: make(map[zodb.Oid][]request),
		waiting:  make(map[zodb.Oid]func()),
		messages: make(map[uint64]*message),
		room:     make(chan struct{}, maxPins),
	}
	l.attended, l.leave = context.WithCancel(context.WithoutCancel(e.ctx))
	if !e.enter(l) {
		e.unreserve()
		proc.Close()
		return nil, fmt.Errorf("pid%d: %w: this process has %d of %d", proc.Pid(), ErrTooManyLinks, e.cfg.MaxLinks/perClient, e.cfg.MaxLinks)
	}
	e.wg.Go(l.attend)
	return l, nil
}

// attend takes the link down when the client ends: its descriptor of the link may
// be open elsewhere, and a thread of it may be in a page fault that waits for this.
func (l *Link) attend() {
	if l.proc.Wait(l.attended) == nil {
		close(l.dead)
		l.shutdown(downDied, nil)
		<-l.attended.Done()
	}
	l.proc.Close()
}

// Write takes bytes from the client. It never blocks.
func (l *Link) Write(data []byte) error {
	l.mu.Lock()
	if l.down {
		defer l.mu.Unlock()
		if l.mustEndClient() {
			return nil // the client is told nothing that it could run away from
		}
		return ErrDown
	}
	lines, err := l.input.Take(data)
	l.mu.Unlock()
	for _, line := range lines {
		if l.ctx.Err() != nil {
			return nil // whatever follows is not wanted any more
		}
		l.handle(line)
	}
	if err != nil && l.ctx.Err() == nil {
		l.protocolError(err)
	}
	return nil
}

// Read returns bytes for the client, and io.EOF when the link is down and all
// was read. It waits for some.
func (l *Link) Read(ctx context.Context, dest []byte) (int, error) {
	n, err := l.out.Take(ctx, dest)
	if n == 0 && err == nil && len(dest) > 0 {
		return 0, io.EOF
	}
	return n, err
}

// Release notes that nobody has the link open any more.
func (l *Link) Release() { l.shutdown(downEOF, nil) }

// handle does what one line says.
func (l *Link) handle(line string) {
	f, err := wire.ParseFrame(line)
	switch {
	case err != nil:
		l.protocolError(err)
	case f.Stream%2 == 0:
		l.acknowledge(f)
	case f.Msg == "bye":
		l.shutdown(downBye, nil)
	default:
		l.request(f)
	}
}

// acknowledge hands the reply to a pin to who sent it. A pin that is refused stays
// open: whatever the client does next, it has not done what the pin says.
func (l *Link) acknowledge(f wire.Frame) {
	l.mu.Lock()
	m := l.messages[f.Stream]
	open := m != nil && !m.refused
	switch {
	case open && f.Msg == "ack":
		delete(l.messages, f.Stream)
	case open:
		m.refused, m.failed.malformed = true, true
		m.failed.cause = fmt.Errorf("expect %q; got %q", "ack", f.Msg)
	}
	forgiven := m == nil && 0 < f.Stream && f.Stream <= l.forgiven
	l.mu.Unlock()
	switch {
	case open:
		m.reply <- f.Msg
	case !forgiven:
		l.protocolError(fmt.Errorf("%d: reply on unexpected stream", f.Stream))
	}
}

// protocolError shuts the link down because of what the client said.
func (l *Link) protocolError(err error) {
	l.engine.tell(l.engine.cfg.Observer.Warnf, "wlink %d: pid%d: %s", l.id, l.proc.Pid(), err)
	l.shutdown(downProtocol, err)
}

// send sends a reply or a control message. A client that does not read for too
// long is cut off.
func (l *Link) send(f wire.Frame) {
	ctx, cancel := context.WithTimeout(l.ctx, l.engine.cfg.PinTimeout)
	defer cancel()
	if err := l.out.Put(ctx, f.Line()); err != nil && l.ctx.Err() == nil {
		l.protocolError(fmt.Errorf("client does not read: %w", err))
	}
}

// watchList returns the watches.
func (l *Link) watchList() (all []*live.Watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.watches {
		all = append(all, w)
	}
	return all
}
