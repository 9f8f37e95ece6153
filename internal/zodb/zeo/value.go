package zeo

import (
	"encoding/binary"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

// message is what one frame says: a request, a reply, or a notification.
type message struct {
	id    int64
	flag  int64 // of requests: 0 call, 1 one-way; of replies: 0 result, 2 exception
	name  string
	value any // arguments, or the result

	// native says that the name is a str of Python 2, which is a byte string here. Only
	// what Python 2 writes has that.
	native bool
}

// Flags.
const (
	flagCall      = 0
	flagResult    = 0
	flagOneWay    = 1
	flagException = 2
)

// replyName is the name of all replies.
const replyName = ".reply"

// codec is one of the two encodings of messages. Values are those of package pickle:
// nil, bool, int64, float64, string, pickle.Bytes, pickle.Tuple, *pickle.List and
// *pickle.Dict, in both directions.
type codec interface {
	// append encodes m. Values of other types are a bug of the caller.
	append(b []byte, m message) []byte

	// decode decodes a whole frame. Byte strings of the result are parts of data.
	decode(data []byte) (message, error)
}

// toMessage understands the four values that a message is made of.
func toMessage(v any) (m message, err error) {
	parts, ok := items(v)
	if !ok || len(parts) != 4 {
		return m, protocolErrorf("a message that is no tuple of four")
	}
	if m.id, ok = parts[0].(int64); !ok {
		return m, protocolErrorf("a message whose number is none")
	}
	switch flag := parts[1].(type) {
	case int64:
		m.flag = flag
	case bool:
		if flag {
			m.flag = flagOneWay
		}
	default:
		return m, protocolErrorf("a message with no flag")
	}
	if m.name, ok = pickle.Text(parts[2]); !ok {
		return m, protocolErrorf("a message without a name")
	}
	_, m.native = parts[2].(pickle.Bytes)
	m.value = parts[3]
	return m, nil
}

// items returns what is in a tuple or a list: servers send either.
func items(v any) ([]any, bool) {
	switch x := v.(type) {
	case pickle.Tuple:
		return x, true
	case *pickle.List:
		return x.Items, true
	}
	return nil, false
}

// id8 understands an oid or a tid. Servers with Python 2 send a str, which is Bytes, too.
func id8(v any) (uint64, bool) {
	b, ok := v.(pickle.Bytes)
	if !ok || len(b) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64([]byte(b)), true
}

func tidOf(v any) (zodb.Tid, bool) {
	id, ok := id8(v)
	return zodb.Tid(id), ok
}

func oidOf(v any) (zodb.Oid, bool) {
	id, ok := id8(v)
	return zodb.Oid(id), ok
}

// bytes8 is an oid or a tid as an argument.
func bytes8[T ~uint64](id T) pickle.Bytes {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	return pickle.Bytes(b[:])
}
