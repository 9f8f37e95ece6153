package harness

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// BareLink is a client that does as little as possible, for measurements: it acknowledges
// pins while it waits for the reply to a request.
type BareLink struct {
	NPins int  // pins received
	Each  bool // acknowledge pins one by one

	fd     int
	in     []byte // read, not looked at
	out    []byte // acknowledgements to be written
	stream int
}

// OpenBareLink opens head/watch of a server.
func OpenBareLink(s *Server) *BareLink {
	s.T.Helper()
	l, err := TryBareLink(s.Path("head/watch"))
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { unix.Close(l.fd) })
	return l
}

// TryBareLink opens the file head/watch at path.
func TryBareLink(path string) (*BareLink, error) {
	fd, err := OpenFile(path, unix.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &BareLink{fd: fd, in: make([]byte, 0, 1<<16), stream: -1}, nil
}

// Ask sends a request, handles pins, and returns the reply.
func (l *BareLink) Ask(msg string) (string, error) {
	if err := l.Send(msg); err != nil {
		return "", err
	}
	return l.Reply()
}

// Send sends a request.
func (l *BareLink) Send(msg string) error {
	l.stream += 2
	return l.write(fmt.Appendf(nil, "%d %s\n", l.stream, msg))
}

// Reply handles pins until there is the reply to a request, and returns it.
func (l *BareLink) Reply() (string, error) {
	for {
		reply, ok, err := l.take()
		if err == nil {
			err = l.flush()
		}
		if ok || err != nil {
			return reply, err
		}
		if err := l.receive(); err != nil {
			return "", err
		}
	}
}

// take looks at the lines that were read, until one is a reply.
func (l *BareLink) take() (reply string, ok bool, err error) {
	for {
		line, rest, ok := bytes.Cut(l.in, []byte("\n"))
		if !ok {
			return "", false, nil
		}
		stream, msg, _ := bytes.Cut(line, []byte(" "))
		if !bytes.HasPrefix(msg, []byte("pin ")) {
			reply := string(msg)
			l.in = append(l.in[:0], rest...)
			return reply, true, nil
		}
		l.NPins++
		l.out = append(append(l.out, stream...), " ack\n"...)
		l.in = rest
		if l.Each {
			if err := l.flush(); err != nil {
				return "", false, err
			}
		}
	}
}

// receive reads what the server says.
func (l *BareLink) receive() error {
	buf := make([]byte, 1<<16)
	n := 0
	if err := Uninterrupted(func() (err error) { n, err = unix.Read(l.fd, buf); return err }); err != nil {
		return fmt.Errorf("read from the link: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("read from the link: %w", io.EOF)
	}
	l.in = append(l.in, buf[:n]...)
	return nil
}

func (l *BareLink) flush() (err error) {
	if len(l.out) > 0 {
		err = l.write(l.out)
		l.out = l.out[:0]
	}
	return err
}

func (l *BareLink) write(p []byte) error {
	if _, err := unix.Write(l.fd, p); err != nil {
		return fmt.Errorf("write to the link: %w", err)
	}
	return nil
}

// Must is Ask for what must succeed.
func (l *BareLink) Must(t testing.TB, msg string) {
	reply, err := l.Ask(msg)
	if err != nil || reply != "ok" {
		t.Fatalf("%s: %q, %v", msg, reply, err)
	}
}

// Bye ends the link.
func (l *BareLink) Bye() {
	_ = l.write([]byte("1 bye\n"))
	unix.Close(l.fd)
}
