package harness

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// ZHead is an open .wcfs/debug/zhead.
type ZHead struct {
	t  testing.TB
	fd int
}

// OpenZHead opens .wcfs/debug/zhead, of a server with -debug.
func OpenZHead(s *Server) *ZHead {
	s.T.Helper()
	fd, err := OpenFile(s.Path(".wcfs/debug/zhead"), unix.O_RDONLY)
	require.NoError(s.T, err)
	return &ZHead{t: s.T, fd: fd}
}

// Next waits for the next transaction and returns it, or "" at the end.
func (z *ZHead) Next() string {
	z.t.Helper()
	line := make([]byte, 100)
	var n int
	require.NoError(z.t, Uninterrupted(func() (err error) {
		n, err = unix.Read(z.fd, line)
		return err
	}))
	if n > 0 {
		require.Equal(z.t, byte('\n'), line[n-1])
	}
	return strings.TrimSuffix(string(line[:n]), "\n")
}

// Wait waits until a transaction is published.
func (z *ZHead) Wait(tid zodb.Tid) {
	z.t.Helper()
	for at := z.Next(); at != tid.String(); at = z.Next() {
		require.NotEmpty(z.t, at, "zhead ends before %s", tid)
	}
}

// Published commits what change does and returns how long it took from the end of the
// commit until head/at showed it.
func (z *ZHead) Published(l *Live, change func(tx *LiveTx)) time.Duration {
	z.t.Helper()
	tid := l.Commit(change)
	start := time.Now()
	z.Wait(tid)
	return time.Since(start)
}

// Close ends the reading.
func (z *ZHead) Close() { unix.Close(z.fd) }
