package zeo

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/link"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

// fake is the server's end of a connection, for what a real server cannot be made to do.
type fake struct {
	t     testing.TB
	conn  net.Conn
	r     *bufio.Reader
	codec codec
}

// eachCodec runs a test with both encodings.
func eachCodec(t *testing.T, test func(t *testing.T, c codec)) {
	for name, c := range map[string]codec{"Z": codecZ{}, "M": codecM{}} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

// newFake returns a session and the server's end of it.
func newFake(t testing.TB, c codec, told told) (*session, *fake) {
	ours, theirs := net.Pipe()
	s := newSession(ours, ours, c, &Config{MaxMessage: 1 << 20}, told.put)
	s.start()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		theirs.Close()
	})
	return s, &fake{t: t, conn: theirs, r: bufio.NewReader(theirs), codec: c}
}

// next returns the next request, or fails the test.
func (f *fake) next() message {
	f.t.Helper()
	m, err := f.read()
	require.NoError(f.t, err)
	return m
}

func (f *fake) read() (message, error) {
	frame, err := readFrame(f.r, 1<<20)
	if err != nil {
		return message{}, err
	}
	return f.codec.decode(frame.Data)
}

func (f *fake) bytes(messages ...message) []byte {
	var b []byte
	for _, m := range messages {
		b = appendFrame(b, func(b []byte) []byte { return f.codec.append(b, m) })
	}
	return b
}

func (f *fake) write(b []byte) {
	f.t.Helper()
	_, err := f.conn.Write(b)
	require.NoError(f.t, err)
}

func (f *fake) send(messages ...message) {
	f.t.Helper()
	f.write(f.bytes(messages...))
}

func answer(to message, value any) message {
	return message{id: to.id, name: replyName, value: value}
}

func exceptionReply(to message, class string, args ...any) message {
	return message{id: to.id, flag: flagException, name: replyName, value: pickle.Tuple{class, pickle.Tuple(args)}}
}

func commitNotice(tid zodb.Tid, oids ...zodb.Oid) message {
	list := &pickle.List{}
	for _, oid := range oids {
		list.Items = append(list.Items, bytes8(oid))
	}
	return message{flag: flagOneWay, name: "invalidateTransaction", value: pickle.Tuple{bytes8(tid), list}}
}

// result is what came of a load.
type result struct {
	data   string
	serial zodb.Tid
	err    error
}

// load loads in another goroutine.
func load(ctx context.Context, s *session, xid zodb.Xid) <-chan result {
	out := make(chan result, 1)
	go func() {
		buf, serial, err := s.Load(ctx, xid)
		r := result{serial: serial, err: err}
		if buf != nil {
			r.data = string(buf.Data)
			buf.Release()
		}
		out <- r
	}()
	return out
}

// listen has a script run for each connection to a socket.
func listen(t *testing.T, script func(conn net.Conn)) link.Addr {
	return serve(t, "unix", filepath.Join(t.TempDir(), "s"), script)
}

func serve(t *testing.T, network, address string, script func(conn net.Conn)) link.Addr {
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			script(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return link.Addr{Network: network, Address: l.Addr().String()}
}

// says is a script that writes and waits for the end of the connection.
func says(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		_, _ = io.Copy(io.Discard, conn)
	}
}

func frame(text string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
}
