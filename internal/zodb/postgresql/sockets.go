package postgresql

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"github.com/wcfs/wcfs/internal/zodb/link"
)

// sockets are the connections of one session, also those by which package pgconn has a
// query cancelled. Closing them ends all that waits for the server.
type sockets struct {
	met atomic.Bool // the server is known for what it should be: nobody asks what it has said

	mu     sync.Mutex
	open   map[*socket]struct{} // guarded by mu
	closed bool                 // guarded by mu
	head   []byte               // guarded by mu; what the server has said first on the newest one
}

// maxHead is how much of what a server says first is kept: enough to tell what it is.
const maxHead = 16

// socket is a connection that takes itself out of the list when it is closed.
type socket struct {
	net.Conn
	of *sockets
}

func newSockets() *sockets { return &sockets{open: map[*socket]struct{}{}} }

// dial is a pgconn.DialFunc.
func (s *sockets) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := link.Connect(ctx, link.Addr{Network: network, Address: address})
	if err != nil {
		return nil, err
	}
	c := &socket{conn, s}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.open[c] = struct{}{}
		s.head = nil
	}
	s.mu.Unlock()
	if closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// Read implements net.Conn.
func (c *socket) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.of.met.Load() {
		c.of.hear(p[:n])
	}
	return n, err
}

func (s *sockets) hear(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = append(s.head, p[:min(len(p), maxHead-len(s.head))]...)
}

// Close implements net.Conn.
func (c *socket) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// said returns what the server has said first.
func (s *sockets) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.head)
}

// close closes all, and those that come later.
func (s *sockets) close() {
	s.mu.Lock()
	s.closed = true
	all := s.open
	s.open = nil
	s.mu.Unlock()
	for c := range all {
		_ = c.Conn.Close()
	}
}
