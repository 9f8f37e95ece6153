package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// How a connection is watched. Ticks are counted and not time, so that a process that
// was stopped for a while first reads what has come meanwhile.
const (
	usualTick  = 5 * time.Second
	quietAsk   = 2 // ticks without a byte after which the server is asked for a sign
	quietLimit = 5 // ticks without a byte after which it is taken for gone
)

// Config says what a Link is made of.
type Config[R any] struct {
	Conn net.Conn // read and written; TLS maybe
	Raw  net.Conn // what Conn runs over; closed to end everything at once

	// Drop gives back what a reply holds that nobody waits for any more. It must not
	// block.
	Drop func(R)

	// Tick is how often is looked whether the server is still there, 0: as usual.
	Tick time.Duration
}

// Link is one connection. All methods may be called from any goroutine.
type Link[R any] struct {
	cfg   Config[R]
	calls *table[R]
	out   *outbox
	heard atomic.Bool  // something has come since the last tick
	quiet atomic.Int32 // ticks without a byte after which the server is gone, 0: never

	done    chan struct{} // closed when the link has ended
	end     sync.Once
	err     error // why; set before done is closed
	running sync.WaitGroup
}

// New takes over a connection whose handshake is done. It is to be started.
func New[R any](cfg Config[R]) *Link[R] {
	cfg.Tick = cmp.Or(cfg.Tick, usualTick)
	l := &Link[R]{cfg: cfg, calls: newTable(cfg.Drop), out: newOutbox(), done: make(chan struct{})}
	l.quiet.Store(quietLimit)
	return l
}

// Start begins to read, to write and to watch. read takes what comes until that ends, and
// waits for nobody but the server. sign asks the server for something, with Ask.
func (l *Link[R]) Start(read func(in io.Reader) error, sign func()) {
	l.running.Go(func() { l.Fail(readError(read(hearing{l.cfg.Conn, &l.heard}))) })
	l.running.Go(func() {
		if err := l.out.writeTo(l.cfg.Conn, l.done); err != nil {
			l.Fail(fmt.Errorf("write: %w", err))
		}
	})
	l.running.Go(func() { l.watch(sign) })
}

func readError(err error) error {
	if err == nil || err == io.EOF {
		return errors.New("the server has closed the connection")
	}
	return err
}

// Done is closed when the link has ended.
func (l *Link[R]) Done() <-chan struct{} { return l.done }

// Err says why the link has ended, and is nil as long as it goes on.
func (l *Link[R]) Err() error {
	select {
	case <-l.done:
		return l.err
	default:
		return nil
	}
}

// Close ends the link and waits for its goroutines. It is idempotent.
func (l *Link[R]) Close() error {
	l.Fail(storage.ErrClosed)
	l.running.Wait()
	return nil
}

// Fail ends the link for the first reason that it is told. It waits for nobody.
func (l *Link[R]) Fail(err error) {
	l.end.Do(func() {
		l.err = err
		close(l.done)
		_ = l.cfg.Raw.Close()
	})
}

// Patience sets how many ticks the server may be quiet, 0: for ever.
func (l *Link[R]) Patience(ticks int) { l.quiet.Store(int32(ticks)) }

// HearWrites takes it for a sign of life, too, that the other side takes what is written:
// a big record may take longer over a slow line than a server may be quiet. It is for
// before Start.
func (l *Link[R]) HearWrites() { l.cfg.Conn = &telling{l.cfg.Conn, &l.heard} }

// hearing notes that something has come.
type hearing struct {
	r     io.Reader
	heard *atomic.Bool
}

func (h hearing) Read(b []byte) (n int, err error) {
	n, err = h.r.Read(b)
	if n > 0 {
		h.heard.Store(true)
	}
	return n, err
}

// writeAtOnce is how much is written before that counts as a sign of life, in bytes.
const writeAtOnce = 64 << 10

// telling notes that something was taken.
type telling struct {
	net.Conn
	heard *atomic.Bool
}

func (t *telling) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var wrote int
		wrote, err = t.Conn.Write(b[n:min(len(b), n+writeAtOnce)])
		n += wrote
		t.heard.Store(true)
	}
	return n, err
}

// watch asks a quiet server for a sign, which also keeps connections alive in proxies
// that drop quiet ones, and ends the link if none comes: when the other host is gone,
// when packets get lost, and when the server has stopped.
func (l *Link[R]) watch(sign func()) {
	ticker := time.NewTicker(l.cfg.Tick)
	defer ticker.Stop()
	for quiet := 0; ; {
		select {
		case <-ticker.C:
		case <-l.done:
			return
		}
		if quiet++; l.heard.Swap(false) {
			quiet = 0
		}
		if quiet == quietAsk {
			sign()
		}
		if limit := int(l.quiet.Load()); limit > 0 && quiet >= limit {
			l.Fail(fmt.Errorf("the server has not answered for %s; it, its host or the network may be gone or stopped", time.Duration(quiet)*l.cfg.Tick))
			return
		}
	}
}

// ---- calls ----

// Encode appends the message of the call with that number.
type Encode func(b []byte, id int64) []byte

// Send queues a request. Its slot is free again when the reply has come.
func (l *Link[R]) Send(ctx context.Context, encode Encode) (*Call[R], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case l.calls.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.done:
		return nil, l.err
	}
	c := &Call[R]{got: make(chan answer[R], 1), slot: true}
	l.request(c, encode)
	return c, nil
}

func (l *Link[R]) request(c *Call[R], encode Encode) {
	id := l.calls.add(c)
	l.out.put(func(b []byte) []byte { return encode(b, id) })
}

// Ask queues a request whose reply nobody waits for. Such requests are not bounded.
func (l *Link[R]) Ask(encode Encode) {
	l.request(&Call[R]{got: make(chan answer[R], 1), abandoned: true}, encode)
}

// Tell queues a message that is not answered.
func (l *Link[R]) Tell(encode func(b []byte) []byte) { l.out.put(encode) }

// Wait waits for the reply to c. If ctx ends before, late is told the reply when it
// comes.
func (l *Link[R]) Wait(ctx context.Context, c *Call[R], late func(R, error)) (none R, _ error) {
	select {
	case a := <-c.got:
		return a.reply, a.err
	case <-l.done:
	case <-ctx.Done():
		c.late = late
	}
	if l.calls.abandon(c) {
		a := <-c.got
		return a.reply, a.err
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	return none, l.err
}

// Call is Send and Wait.
func (l *Link[R]) Call(ctx context.Context, encode Encode) (none R, _ error) {
	c, err := l.Send(ctx, encode)
	if err != nil {
		return none, err
	}
	return l.Wait(ctx, c, nil)
}

// Answer hands over the reply to a call, or the error that it was answered with. It
// reports whether there is such a call.
func (l *Link[R]) Answer(id int64, r R, err error) bool { return l.calls.answer(id, r, err) }

// Calls returns how many calls are under way.
func (l *Link[R]) Calls() int { return len(l.calls.slots) }
