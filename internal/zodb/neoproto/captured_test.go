package neoproto

import (
	"bytes"
	"encoding/hex"
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	tid1 zodb.Tid = 0x040d230704449699
	tid2 zodb.Tid = 0x040d2307066de467
	tid3 zodb.Tid = 0x040d23071090dbdc

	theMaster NodeID = -268435455
	theClient NodeID = -536870911
)

// captured are packets that nodes and clients of NEO/py have sent, and what they say.
var captured = []struct {
	name string
	hex  string
	want Packet
}{
	{"identification", "93000196d40402c0c0c4027463c080", Packet{0, &Identify{Type: Client, Cluster: "tc"}}},
	{"identification of a reader", "93000196d40402c0c0c4027463c081c409726561645f6f6e6c79c3", Packet{0, &Identify{Type: Client, Cluster: "tc", ReadOnly: true}}},
	{"acceptance", "9300cd800193d40400d2f0000001d2e0000001", Packet{0, &Accepted{Master, theMaster, theClient}}},
	{"nodes", "93000692cb41dabff8645add819395d40402c0d2e0000001d40302cb41dabff8645ad88b95d4040192c4093132372e302e302e31cd520901d40302cb41dabff85d5968df95d4040092c4093132372e302e302e31cd5208d2f0000001d40302c0",
		Packet{0, &Nodes{at(0x41dabff8645add81), []Node{
			{Client, "", theClient, Running, at(0x41dabff8645ad88b)},
			{StorageNode, "127.0.0.1:21001", 1, Running, at(0x41dabff85d5968df)},
			{Master, "127.0.0.1:21000", theMaster, Running, 0},
		}}}},
	{"table", "93010a93010092919201d40001919201d40001", Packet{1, &Table{1, 0, [][]Cell{{{1, UpToDate}}, {{1, UpToDate}}}}}},
	{"question for the last transaction", "93013c90", Packet{1, &AskLast{}}},
	{"last transaction", "9301cd803c91c4080000000000000000", Packet{1, &Last{}}},
	{"ping", "93020290", Packet{2, &Ping{}}},
	{"pong", "9302cd800290", Packet{2, &Pong{}}},
	{"error", "9300cd80009206c414696e76616c696420636c7573746572206e616d65", Packet{0, &Error{ProtocolViolation, "invalid cluster name"}}},
	{"commit", "93021692c408040d23070444969992c4080000000000000000c4080000000000000001", Packet{2, &Commit{tid1, []zodb.Oid{0, 1}}}},
	{"deletion", "93041692c408040d23071090dbdc90", Packet{4, &Commit{tid3, nil}}},
	{"identification with a storage", "93000196d40402d2e0000001c0c4027463cb41dabff8691da01480", Packet{0, &Identify{Type: Client, ID: theClient, Cluster: "tc", Time: at(0x41dabff8691da014)}}},
	{"acceptance of a storage", "9300cd800193d4040101d2e0000001", Packet{0, &Accepted{StorageNode, 1, theClient}}},
	{"question for an object", "93012093c4080000000000000001c0c408040d23070444969a", Packet{1, &AskObject{Oid: 1, Before: tid1 + 1}}},
	{"compressed object", "9301cd802097c4080000000000000001c408040d230704449699c408040d2307066de46701c41448adc481879899d7809af7b60dd6716cb936dd3cc40d789c73741c05c40200cb9e4c2dc0",
		Packet{1, object(1, tid1, tid2, Zlib, "48adc481879899d7809af7b60dd6716cb936dd3c", "\x78\x9c\x73\x74\x1c\x05\xc4\x02\x00\xcb\x9e\x4c\x2d")}},
	{"plain object", "9302cd802097c4080000000000000001c408040d2307066de467c000c41489f6229a11ac4ebaa553c1a3ea96d78fa7483735c405736d616c6cc0",
		Packet{2, object(1, tid2, 0, Plain, "89f6229a11ac4ebaa553c1a3ea96d78fa7483735", "small")}},
	{"deleted object", "9306cd802097c4080000000000000001c408040d23071090dbdcc0c0c4140000000000000000000000000000000000000000c400c0",
		Packet{6, object(1, tid3, 0, Plain, "0000000000000000000000000000000000000000", "")}},
	{"object that is not there yet", "9303cd80009203c41030303030303030303030303030303031", Packet{3, &Error{OidNotFound, "0000000000000001"}}},
	{"object that is not there", "9304cd80009205c41030303030303030303030303030303464", Packet{4, &Error{OidDoesNotExist, "000000000000004d"}}},
	{"question for transactions", "93083094c408040d230704449699c408040d23071090dbdc6400", Packet{8, &AskTids{tid1, tid3, 100, 0}}},
	{"transactions", "9308cd80309191c408040d23071090dbdc", Packet{8, &Tids{[]zodb.Tid{tid3}}}},
	{"question for a transaction", "930a2291c408040d230704449699", Packet{10, &AskTransaction{tid1}}},
	{"transaction", "930acd802296c408040d230704449699c40175c40164c400c292c4080000000000000000c4080000000000000001",
		Packet{10, &Transaction{tid1, []byte("u"), []byte("d"), []byte{}, false, []zodb.Oid{0, 1}}}},
	{"storage that is down", "93050692cb41dabff86a7a974c9195d4040192c4093132372e302e302e31cd520901d40301cb41dabff85d5968df",
		Packet{5, &Nodes{at(0x41dabff86a7a974c), []Node{{StorageNode, "127.0.0.1:21001", 1, Down, at(0x41dabff85d5968df)}}}}},
	{"end of operation", "93060d90", Packet{6, &Stop{}}},
}

// at is a time as it was sent.
func at(bits uint64) float64 { return math.Float64frombits(bits) }

func object(oid zodb.Oid, serial, next zodb.Tid, compression int, checksum, data string) *Object {
	o := &Object{Oid: oid, Serial: serial, Next: next, Compression: compression, Data: storage.NewBuf(len(data))}
	_, _ = hex.Decode(o.Checksum[:], []byte(checksum))
	copy(o.Data.Data, data)
	return o
}

func TestCapturedPacketsAreUnderstoodAndWritten(t *testing.T) {
	for _, c := range captured {
		t.Run(c.name, func(t *testing.T) {
			data, err := hex.DecodeString(c.hex)
			require.NoError(t, err)
			r := NewReader(bytes.NewReader(data), 1000)
			got, err := r.Next()
			require.NoError(t, err)
			if o, ok := got.Msg.(*Object); ok {
				want := c.want.Msg.(*Object)
				require.Equal(t, string(want.Data.Data), string(o.Data.Data))
				require.Equal(t, c.name == "deleted object", o.Deleted())
				want.Data = o.Data
			}
			require.Equal(t, c.want, got)
			_, err = r.Next()
			require.Equal(t, io.EOF, err)
			require.Equal(t, c.hex, hex.EncodeToString(Append(nil, c.want)))
		})
	}
	require.Equal(t, "92a34e454f05", hex.EncodeToString([]byte(Hello)))
}

// A stream has no lengths: each way to cut it is as good as another.
func TestPacketsAreReadFromPieces(t *testing.T) {
	var all []byte
	for _, c := range captured {
		data, err := hex.DecodeString(c.hex)
		require.NoError(t, err)
		all = append(all, data...)
	}
	for size := 1; size < 40; size++ {
		r := NewReader(&pieces{all, size}, 1000)
		var again []byte
		for {
			p, err := r.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			again = Append(again, p)
		}
		require.Equal(t, all, again)
	}
	ends := map[int]bool{}
	n := 0
	for _, c := range captured {
		ends[n] = true
		n += len(c.hex) / 2
	}
	for cut := range all { // only between packets is the end an end
		r, err := NewReader(bytes.NewReader(all[:cut]), 1000), error(nil)
		for err == nil {
			_, err = r.Next()
		}
		if ends[cut] {
			require.Equal(t, io.EOF, err)
		} else {
			require.Equal(t, io.ErrUnexpectedEOF, err, "cut after %d bytes", cut)
		}
	}
}

// pieces is read a few bytes at a time.
type pieces struct {
	data []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(p.n, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}
