package neo

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
)

// meets is a master of an empty cluster: it tells all that masters tell, and then more
// behind its answer for the last transaction, in one breath.
func meets(last zodb.Tid, more ...neoproto.Message) func(net.Conn) {
	const client = -0x1fffffff
	return func(conn net.Conn) {
		read := func() { _, _ = conn.Read(make([]byte, 1000)) }
		say := func(b []byte) { _, _ = conn.Write(b) }
		say([]byte(neoproto.Hello))
		_, _ = io.ReadFull(conn, make([]byte, len(neoproto.Hello)))
		read()
		b := neoproto.Append(nil, neoproto.Packet{ID: 1, Msg: &neoproto.Accepted{Type: neoproto.Master, ID: -0x0fffffff, You: client}})
		b = neoproto.Append(b, neoproto.Packet{Msg: &neoproto.Nodes{Time: 1, Nodes: []neoproto.Node{{Type: neoproto.Client, ID: client, State: neoproto.Running, Time: 1}}}})
		say(neoproto.Append(b, neoproto.Packet{ID: 1, Msg: &neoproto.Table{ID: 1, Rows: [][]neoproto.Cell{{}}}}))
		read()
		b = neoproto.Append(nil, neoproto.Packet{ID: 2, Msg: &neoproto.Last{Tid: last}})
		for i, m := range more {
			b = neoproto.Append(b, neoproto.Packet{ID: uint32(2 + i), Msg: m})
		}
		say(b)
		_, _ = io.Copy(io.Discard, conn)
	}
}

// A commit may come in the moment in which the master has accepted the client. It is told
// once: the session knows that it has told it.
func TestCommitRightBehindTheBeginningIsToldOnce(t *testing.T) {
	addr := listen(t, meets(10, &neoproto.Commit{Tid: 11}))
	for range 300 {
		told := newCommits()
		s, last, err := Dial(quick(addr), t.Logf)(t.Context(), told.put)
		require.NoError(t, err)
		require.Equal(t, zodb.Tid(11), told.next(t))
		require.Contains(t, []zodb.Tid{10, 11}, last)
		require.Equal(t, uint64(11), s.(*session).last.Load())
		require.NoError(t, s.Close())
	}
}
