package zeo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/remote"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// readRoom is how much is read at once of small messages, in bytes.
const readRoom = 64 << 10

// session is one registered connection. It implements remote.Session.
type session struct {
	*link.Link[reply]
	codec   codec
	limit   int64 // bytes of a message
	commits remote.Commits
	python2 atomic.Bool // the server runs on Python 2
}

// newSession takes over a connection whose handshake is done. It is to be started.
func newSession(conn, raw net.Conn, c codec, cfg *Config, commits remote.Commits) *session {
	return &session{
		Link:  link.New(link.Config[reply]{Conn: conn, Raw: raw, Drop: reply.release, Tick: cfg.tick}),
		codec: c, limit: cfg.MaxMessage, commits: commits,
	}
}

// start begins to read, to write and to watch.
func (s *session) start() {
	s.Start(s.read, func() { s.Ask(s.request("ping")) })
}

// ---- calls ----

// request returns what writes a request.
func (s *session) request(method string, args ...any) link.Encode {
	return func(b []byte, id int64) []byte {
		m := message{id: id, name: method, value: pickle.Tuple(args)}
		return appendFrame(b, func(b []byte) []byte { return s.codec.append(b, m) })
	}
}

// oneWay queues a request that is not answered. For any error the server closes the
// connection.
func (s *session) oneWay(method string, args ...any) {
	m := message{flag: flagOneWay, name: method, value: pickle.Tuple(args)}
	s.Tell(func(b []byte) []byte {
		return appendFrame(b, func(b []byte) []byte { return s.codec.append(b, m) })
	})
}

func (s *session) send(ctx context.Context, method string, args ...any) (*link.Call[reply], error) {
	return s.Send(ctx, s.request(method, args...))
}

func (s *session) call(ctx context.Context, method string, args ...any) (reply, error) {
	return s.Call(ctx, s.request(method, args...))
}

// violation ends the session for a reply of the wrong form.
func (s *session) violation(method string, value any) error {
	err := protocolErrorf("%s is answered with %s", method, shorten(describe(value, 2)))
	s.Fail(err)
	return err
}

// ---- reader ----

// read takes messages until the connection ends. It waits for nobody but the server.
func (s *session) read(conn io.Reader) error {
	in := bufio.NewReaderSize(conn, readRoom)
	for {
		frame, err := readFrame(in, s.limit)
		if err == io.EOF {
			return err
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
	var failed error
	switch m.flag {
	case flagResult:
	case flagException:
		exc, err := exception(m.value)
		if err != nil {
			return err
		}
		r, failed = reply{}, exc
	default:
		return protocolErrorf("a reply with flag %d", m.flag)
	}
	if m.native {
		s.python2.Store(true)
	}
	if !s.Answer(m.id, r, failed) {
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
