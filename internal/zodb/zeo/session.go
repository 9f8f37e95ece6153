package zeo

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// How a connection is watched. Ticks are counted and not time, so that a process that
// was stopped for a while first reads what has come meanwhile.
const (
	usualTick  = 5 * time.Second
	quietPing  = 2 // ticks without a byte after which the server is asked for a sign
	quietLimit = 5 // ticks without a byte after which it is taken for gone
)

// readRoom is how much is read at once of small messages, in bytes.
const readRoom = 64 << 10

// session is one registered connection. It implements remote.Session.
type session struct {
	conn    net.Conn // read and written; TLS maybe
	raw     net.Conn // what conn runs over; closed to end everything at once
	codec   codec
	limit   int64         // bytes of a message
	tick    time.Duration // how often is looked whether it is still there
	commits remote.Commits

	calls   *callTable
	out     *outbox
	heard   atomic.Bool  // something has come since the last tick
	quiet   atomic.Int32 // ticks without a byte after which the server is gone, 0: never
	python2 atomic.Bool  // the server runs on Python 2

	done    chan struct{} // closed when the session has ended
	end     sync.Once
	err     error // why; set before done is closed
	running sync.WaitGroup
}

// newSession takes over a connection whose handshake is done. It is to be started.
func newSession(conn, raw net.Conn, c codec, cfg *Config, commits remote.Commits) *session {
	s := &session{
		conn: conn, raw: raw, codec: c, limit: cfg.MaxMessage, tick: cmp.Or(cfg.tick, usualTick), commits: commits,
		calls: newCallTable(), out: newOutbox(),
		done: make(chan struct{}),
	}
	s.quiet.Store(quietLimit)
	return s
}

// start begins to read, to write and to watch.
func (s *session) start() {
	s.running.Go(func() { s.fail(s.read()) })
	s.running.Go(func() {
		if err := s.out.writeTo(s.conn, s.done); err != nil {
			s.fail(fmt.Errorf("write: %w", err))
		}
	})
	s.running.Go(s.watch)
}

// Done implements remote.Session.
func (s *session) Done() <-chan struct{} { return s.done }

// Err implements remote.Session. It is nil as long as the session goes on.
func (s *session) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Close implements remote.Session.
func (s *session) Close() error {
	s.fail(storage.ErrClosed)
	s.running.Wait()
	return nil
}

// fail ends the session for the first reason that it is told. It waits for nobody.
func (s *session) fail(err error) {
	s.end.Do(func() {
		s.err = err
		close(s.done)
		_ = s.raw.Close()
	})
}

// ---- calls ----

// send queues a request. Its slot is free again when the reply has come.
func (s *session) send(ctx context.Context, method string, args ...any) (*call, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case s.calls.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.done:
		return nil, s.err
	}
	c := &call{got: make(chan reply, 1), slot: true}
	s.request(c, method, args...)
	return c, nil
}

func (s *session) request(c *call, method string, args ...any) {
	m := message{id: s.calls.add(c), name: method, value: pickle.Tuple(args)}
	s.out.put(func(b []byte) []byte {
		return appendFrame(b, func(b []byte) []byte { return s.codec.append(b, m) })
	})
}

// oneWay queues a request that is not answered. For any error the server closes the
// connection.
func (s *session) oneWay(method string, args ...any) {
	m := message{flag: flagOneWay, name: method, value: pickle.Tuple(args)}
	s.out.put(func(b []byte) []byte {
		return appendFrame(b, func(b []byte) []byte { return s.codec.append(b, m) })
	})
}

// wait waits for the reply to c. If ctx ends before, late is told the reply when it
// comes.
func (s *session) wait(ctx context.Context, c *call, late func(reply)) (reply, error) {
	select {
	case r := <-c.got:
		return r, r.err
	case <-s.done:
	case <-ctx.Done():
		c.late = late
	}
	if s.calls.abandon(c) {
		r := <-c.got
		return r, r.err
	}
	if err := ctx.Err(); err != nil {
		return reply{}, err
	}
	return reply{}, s.err
}

func (s *session) call(ctx context.Context, method string, args ...any) (reply, error) {
	c, err := s.send(ctx, method, args...)
	if err != nil {
		return reply{}, err
	}
	return s.wait(ctx, c, nil)
}

// violation ends the session for a reply of the wrong form.
func (s *session) violation(method string, value any) error {
	err := protocolErrorf("%s is answered with %s", method, shorten(describe(value, 2)))
	s.fail(err)
	return err
}

// ---- reader ----

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

// read takes messages until the connection ends. It waits for nobody but the server.
func (s *session) read() error {
	in := bufio.NewReaderSize(hearing{s.conn, &s.heard}, readRoom)
	for {
		frame, err := readFrame(in, s.limit)
		if err == io.EOF {
			return errors.New("the server has closed the connection")
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		m, err := s.codec.decode(frame.Data)
		if err == nil {
			err = s.take(m, frame)
		}
		if err != nil {
			return err
		}
	}
}

// take handles one message. The error ends the session.
func (s *session) take(m message, frame *storage.Buf) error {
	if m.name == replyName {
		return s.takeReply(m, frame)
	}
	defer frame.Release()
	if m.flag != flagOneWay {
		return protocolErrorf("the server calls %.100q and wants a reply", m.name)
	}
	switch m.name {
	case "invalidateTransaction":
		return s.takeCommit(m.value)
	case "info": // length and size of the database
		return nil
	}
	return protocolErrorf("a notification %.100q that is not known", m.name)
}

func (s *session) takeReply(m message, frame *storage.Buf) error {
	if m.id == -1 { // what keeps a connection alive
		frame.Release()
		return nil
	}
	r := reply{value: m.value, frame: frame}
	switch m.flag {
	case flagResult:
	case flagException:
		exc, err := exception(m.value)
		if err != nil {
			return err
		}
		r = reply{err: exc}
	default:
		return protocolErrorf("a reply with flag %d", m.flag)
	}
	if m.native {
		s.python2.Store(true)
	}
	if !s.calls.answer(m.id, r) {
		return protocolErrorf("a reply to call %d, which nobody has made", m.id)
	}
	return nil
}

// takeCommit hands on that there is a transaction. Its objects are asked for: the server
// leaves what was deleted or restored out of its list, and nothing tells whether it has.
func (s *session) takeCommit(args any) error {
	values, ok := items(args)
	if !ok || len(values) != 2 {
		return protocolErrorf("a commit that is not told by two values")
	}
	tid, ok1 := tidOf(values[0])
	changed, ok2 := items(values[1])
	if !ok1 || !ok2 {
		return protocolErrorf("a commit that is not told by a tid and a list")
	}
	for _, v := range changed {
		if _, ok := oidOf(v); !ok {
			return protocolErrorf("a commit of something that is no oid")
		}
	}
	s.commits(tid, nil)
	return nil
}

// ---- watchdog ----

// watch asks a quiet server for a sign, which also keeps connections alive in proxies
// that drop quiet ones, and ends the session if none comes: when the other host is gone,
// when packets get lost, and when the server has stopped.
func (s *session) watch() {
	ticker := time.NewTicker(s.tick)
	defer ticker.Stop()
	for quiet := 0; ; {
		select {
		case <-ticker.C:
		case <-s.done:
			return
		}
		if quiet++; s.heard.Swap(false) {
			quiet = 0
		}
		if quiet == quietPing {
			s.request(&call{got: make(chan reply, 1), abandoned: true}, "ping")
		}
		if limit := int(s.quiet.Load()); limit > 0 && quiet >= limit {
			s.fail(fmt.Errorf("the server has not answered for %s; it, its host or the network may be gone or stopped", time.Duration(quiet)*s.tick))
			return
		}
	}
}
