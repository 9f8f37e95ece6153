package neotest

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestMain(m *testing.M) {
	// A library links in a logger that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// history is what was committed while the transcripts were made.
func history() []storagetest.Txn {
	var noise []byte
	for i := range 10 {
		sum := sha256.Sum256(fmt.Append(nil, i))
		noise = append(noise, sum[:]...)
	}
	put := func(oid zodb.Oid, data string) storagetest.Record {
		return storagetest.Record{Oid: oid, Data: []byte(data)}
	}
	txns := []storagetest.Txn{
		{User: []byte("u"), Description: []byte("d"), Records: []storagetest.Record{put(0, "root"), put(1, strings.Repeat("A", 1000))}},
		{User: []byte("somebody"), Description: []byte("changes 1, creates 2"), Extension: []byte("\x80\x03}q\x00X\x01\x00\x00\x00aq\x01K\x01s."), Records: []storagetest.Record{put(1, "small"), put(2, string(noise))}},
		{Records: []storagetest.Record{{Oid: 1}}},
		{},
		{Records: []storagetest.Record{put(1, "again"), put(18, strings.Repeat("B", 300)), {Oid: 2}}},
		{Records: []storagetest.Record{put(0, "root2")}},
		{Records: []storagetest.Record{{Oid: 0, Data: []byte("root"), SameAs: tidOf(1)}}},
	}
	for i := range txns {
		txns[i].Tid = tidOf(1 + i)
		for _, field := range []*[]byte{&txns[i].User, &txns[i].Description, &txns[i].Extension} {
			*field = append([]byte{}, *field...)
		}
	}
	return txns
}

func tidOf(n int) zodb.Tid { return 0x03ff0000_00000000 + zodb.Tid(n)<<32 }

// line is one of a transcript.
type line struct {
	kind byte // '>', '<', or '#'
	text string
	data []byte
}

func transcript(t *testing.T, name string) (lines []line) {
	f, err := os.Open(filepath.Join("testdata", name+".txt"))
	require.NoError(t, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		l := line{kind: s.Text()[0], text: s.Text()[2:]}
		if l.kind != '#' {
			l.data, err = hex.DecodeString(l.text)
			require.NoError(t, err)
		}
		lines = append(lines, l)
	}
	require.NotEmpty(t, lines)
	return lines
}

func decode(t *testing.T, data []byte) neoproto.Packet {
	r := neoproto.NewReader(bytes.NewReader(data), 1<<20)
	p, err := r.Next()
	require.NoError(t, err)
	_, err = r.Next()
	require.Equal(t, io.EOF, err)
	return p
}

// Each packet that the real nodes sent, and each that they took, is written as it is read.
func TestTranscriptsAreUnderstoodAndWritten(t *testing.T) {
	for _, name := range []string{"master", "storage", "stranger", "anonymous", "forgotten"} {
		n := 0
		for _, l := range transcript(t, name) {
			if l.kind == '#' || string(l.data) == neoproto.Hello {
				continue
			}
			p := decode(t, l.data)
			require.Equal(t, l.text, hex.EncodeToString(neoproto.Append(nil, p)), "%s: %#v", name, p.Msg)
			n++
		}
		require.NotZero(t, n)
	}
}

// replay is a client that says to a fake node what was said to a real one, and compares the
// answers.
type replay struct {
	*testing.T
	c    *Cluster
	conn net.Conn
	in   *neoproto.Reader
	self neoproto.Node // of the client, as the fake master says
	txns []storagetest.Txn
}

func (r *replay) dial(n *Node) {
	var err error
	r.conn, err = net.Dial("tcp", n.Addr)
	require.NoError(r, err)
	r.Cleanup(func() { r.conn.Close() })
	require.NoError(r, r.conn.SetDeadline(time.Now().Add(time.Minute)))
	r.in = neoproto.NewReader(r.conn, 1<<20)
}

// step does what a line says.
func (r *replay) step(l line) {
	r.Helper()
	switch {
	case l.kind == '#':
		r.act(l.text)
	case l.kind == '>' && string(l.data) == neoproto.Hello:
		_, err := r.conn.Write(l.data)
		require.NoError(r, err)
	case l.kind == '>':
		p := decode(r.T, l.data)
		if m, ok := p.Msg.(*neoproto.Identify); ok && m.Time != 0 { // else the fake would not know it
			m.ID, m.Time = r.self.ID, r.self.Time
		}
		_, err := r.conn.Write(neoproto.Append(nil, p))
		require.NoError(r, err)
	case string(l.data) == neoproto.Hello:
		hello := make([]byte, len(neoproto.Hello))
		_, err := io.ReadFull(r.conn, hello)
		require.NoError(r, err)
		require.Equal(r, neoproto.Hello, string(hello))
	default:
		got, err := r.in.Next()
		require.NoError(r, err)
		if m, ok := got.Msg.(*neoproto.Nodes); ok && r.self.ID == 0 {
			r.self = m.Nodes[0]
		}
		require.Equal(r, normal(r.T, decode(r.T, l.data)), normal(r.T, got))
	}
}

// act brings about what the real cluster then told of.
func (r *replay) act(text string) {
	switch {
	case strings.HasPrefix(text, "commit: "):
		r.c.Commit(r.txns[0])
		r.txns = r.txns[1:]
	case text == "a storage is gone":
		r.c.Storages[1].Stop()
	case text == "the other one, too":
		r.c.Storages[0].Stop()
	case text == "end of the connection":
		_, err := r.in.Next()
		require.Equal(r, io.EOF, err)
	}
}

// normal returns a packet without what is a matter of ids, times and places.
func normal(t *testing.T, p neoproto.Packet) neoproto.Packet {
	switch m := p.Msg.(type) {
	case *neoproto.Nodes:
		m.Time = 1
		for i := range m.Nodes {
			n := &m.Nodes[i]
			n.Time, n.Address = min(n.Time, 1), n.Address[:min(len(n.Address), len("127."))]
		}
		slices.SortStableFunc(m.Nodes[min(1, len(m.Nodes)-1):], func(a, b neoproto.Node) int { return cmp.Compare(a.ID, b.ID) })
	case *neoproto.Table:
		for _, row := range m.Rows {
			slices.SortFunc(row, func(a, b neoproto.Cell) int { return cmp.Compare(a.Node, b.Node) })
		}
	case *neoproto.Object:
		if m.Compression == neoproto.Zlib { // another library has other bytes for the same
			plain, err := storage.Inflate(m.Data.Data, 1<<20)
			require.NoError(t, err)
			m.Data, m.Checksum = &storage.Buf{Data: plain}, [20]byte{}
		}
		m.Data = &storage.Buf{Data: append([]byte{}, m.Data.Data...)}
	}
	return p
}

func TestFakeSaysWhatRealNodesSay(t *testing.T) {
	opt := Options{Name: "live", Partitions: 12, Replicas: 1, Storages: 2}
	play := func(t *testing.T, name string, c *Cluster, n *Node, self neoproto.Node) {
		r := &replay{T: t, c: c, txns: history(), self: self}
		r.dial(n)
		for i, l := range transcript(t, name) {
			if r.step(l); t.Failed() {
				t.Fatalf("%s.txt, line %d", name, i+1)
			}
		}
	}
	t.Run("master", func(t *testing.T) {
		c := New(opt)
		defer c.Close()
		play(t, "master", c, c.Masters[0], neoproto.Node{})
		require.Empty(t, c.Complaints())
	})
	t.Run("others", func(t *testing.T) {
		c := New(opt)
		defer c.Close()
		for _, txn := range history() {
			c.Commit(txn)
		}
		client := &replay{T: t, c: c}
		client.dial(c.Masters[0])
		for _, l := range transcript(t, "master")[:11] { // up to the nodes
			client.step(l)
		}
		require.NotZero(t, client.self.Time)
		play(t, "storage", c, c.Storages[0], client.self)
		require.Empty(t, c.Complaints())
		play(t, "stranger", c, c.Masters[0], neoproto.Node{})
		play(t, "anonymous", c, c.Storages[0], neoproto.Node{})
		before := client.self
		before.Time--
		play(t, "forgotten", c, c.Storages[0], before)
	})
}
