package link

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wcfs/wcfs/internal/zodb/fault"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

func TestMain(m *testing.M) {
	// A library links in a logger that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// listening returns the address of a server that accepts connections and reads them.
func listening(t *testing.T) Addr {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return Unix(l.Addr().String())
}

// The greeting ends with its context, whose cause is the error, and the connection is
// closed then.
func TestGreetEndsWithItsContext(t *testing.T) {
	addr, cause := listening(t), errors.New("too slow")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, cause)
	defer cancel()
	var raw net.Conn
	_, err := Greet(ctx, addr, func(conn net.Conn) error {
		raw = conn
		_, err := conn.Read(make([]byte, 1))
		return err
	})
	require.Equal(t, cause, err)
	_, err = raw.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)

	// A greeting that succeeds in the very moment in which the time is over fails.
	for i := range 200 {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Duration(i)*5*time.Microsecond, cause)
		conn, err := Greet(ctx, addr, func(net.Conn) error { return nil })
		cancel()
		if err == nil {
			_, err = conn.Write([]byte("x")) // no deadline is left
			require.NoError(t, err)
			require.NoError(t, conn.Close())
		}
	}
	mine := errors.New("mine")
	_, err = Greet(t.Context(), addr, func(net.Conn) error { return mine })
	require.Equal(t, mine, err)
}

func TestMergeTellsOfAllAddresses(t *testing.T) {
	away, wrong := Wrong(fault.Unreachable, io.EOF, "a is away", "start a"), Wrong(fault.NotADatabase, nil, "b is none", "correct b")
	require.EqualError(t, Merge([]*storage.OpenError{wrong}, "u"), "open u: b is none; correct b")
	both := Merge([]*storage.OpenError{wrong, away}, "u")
	require.EqualError(t, both, "open u: none of the servers can be used: b is none; a is away; start a")
	require.Equal(t, fault.Unreachable, both.Reason) // it may help to try again
	require.ErrorIs(t, both, io.EOF)
	require.Empty(t, wrong.URL)
}
