package neo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/neoproto"
)

// peer is a connection to a node.
type peer struct {
	*link.Link[neoproto.Message]
	limit int64

	// notify takes what the node tells unasked, nil: that is nothing. It is called by
	// the reader, and its error ends the connection.
	notify func(neoproto.Message) error
}

// meet connects to a node, encrypts, and says hello. The peer is to be started.
func meet(ctx context.Context, cfg *Config, addr string) (*peer, error) {
	var conn net.Conn
	to := link.TCP(addr)
	raw, err := link.Greet(ctx, to, func(raw net.Conn) (err error) {
		conn = raw
		if cfg.TLS != nil {
			if conn, err = cfg.TLS.Encrypt(ctx, raw, to, words); err != nil {
				return err
			}
		}
		return hello(conn)
	})
	if err != nil {
		return nil, err
	}
	return &peer{
		Link:  link.New(link.Config[neoproto.Message]{Conn: conn, Raw: raw, Drop: drop, Tick: cfg.tick}),
		limit: cfg.MaxPacket,
	}, nil
}

// hello says and reads what both sides begin with. It reads nothing behind that.
func hello(conn net.Conn) error {
	if _, err := io.WriteString(conn, neoproto.Hello); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	said := make([]byte, len(neoproto.Hello))
	for n := range said { // something else may be shorter, and say nothing more
		if _, err := io.ReadFull(conn, said[n:n+1]); err != nil {
			return &helloError{said[:n], err}
		}
		if said[n] != neoproto.Hello[n] {
			return &helloError{said: said[:n+1]}
		}
	}
	return nil
}

// helloError says that something else than a node of this protocol was met.
type helloError struct {
	said []byte // up to the first byte that is wrong
	err  error  // of reading, nil: what came is wrong
}

func (e *helloError) Error() string {
	if e.err != nil {
		return fmt.Sprintf("read the greeting: %s", e.err)
	}
	return fmt.Sprintf("a greeting %.40q", e.said)
}

func (e *helloError) Unwrap() error { return e.err }

// drop gives back what an answer holds.
func drop(m neoproto.Message) {
	if o, ok := m.(*neoproto.Object); ok {
		o.Data.Release()
	}
}

// start begins to read, to write and to watch.
func (p *peer) start() {
	p.Start(p.read, func() { p.Ask(request(&neoproto.Ping{})) })
}

// request returns what writes a request.
func request(m neoproto.Message) link.Encode {
	return func(b []byte, id int64) []byte { return neoproto.Append(b, neoproto.Packet{ID: uint32(id), Msg: m}) }
}

// read takes packets until the connection ends.
func (p *peer) read(in io.Reader) error {
	r := neoproto.NewReader(in, p.limit)
	for {
		packet, err := r.Next()
		if err != nil {
			return err
		}
		if err := p.take(packet); err != nil {
			return err
		}
	}
}

func (p *peer) take(packet neoproto.Packet) error {
	if packet.IsAnswer() {
		var failed error
		if e, ok := packet.Msg.(*neoproto.Error); ok {
			failed = e
		}
		if !p.Answer(int64(packet.ID), packet.Msg, failed) {
			drop(packet.Msg)
			return &neoproto.ProtocolError{Msg: fmt.Sprintf("an answer to request %d, which nobody has made", packet.ID)}
		}
		return nil
	}
	switch m := packet.Msg.(type) {
	case *neoproto.Ping:
		p.Tell(func(b []byte) []byte {
			return neoproto.Append(b, neoproto.Packet{ID: packet.ID, Msg: &neoproto.Pong{}})
		})
		return nil
	case *neoproto.CloseClient, *neoproto.FlushLog: // nothing follows from them
		return nil
	default:
		if p.notify != nil {
			return p.notify(m)
		}
		return unexpected(m)
	}
}

// unexpected says that a message is none that this node may send.
func unexpected(m neoproto.Message) error {
	return &neoproto.ProtocolError{Msg: fmt.Sprintf("a packet of code 0x%04x, which it may not send", uint16(m.Code()))}
}

// ask asks for an answer of type A. An answer of another type ends the connection.
func ask[A neoproto.Message](ctx context.Context, p *peer, m neoproto.Message) (none A, _ error) {
	reply, err := p.Call(ctx, request(m))
	if err != nil {
		return none, err
	}
	answer, ok := reply.(A)
	if !ok {
		drop(reply)
		err := &neoproto.ProtocolError{Msg: fmt.Sprintf("a request of code 0x%04x is answered with 0x%04x", uint16(m.Code()), uint16(reply.Code()))}
		p.Fail(err)
		return none, err
	}
	return answer, nil
}

// errNoAnswer says that a node has accepted the connection and says nothing.
var errNoAnswer = errors.New("no answer in time")
