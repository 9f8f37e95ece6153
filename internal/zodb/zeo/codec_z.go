package zeo

import (
	"fmt"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

// codecZ encodes messages as pickles of protocol 3, without a memo, as Python does: of
// protocol 2, bytes are a call of _codecs.encode, for which servers close the connection.
type codecZ struct{}

func (codecZ) decode(data []byte) (message, error) {
	v, err := pickle.DecodeInPlace(data)
	if err != nil {
		return message{}, &ProtocolError{err.Error()}
	}
	return toMessage(v)
}

func (codecZ) append(b []byte, m message) []byte {
	b = append(b, 0x80, 3, '(')
	b = pickle.AppendInt(b, m.id)
	b = appendPickle(b, flagValue(m))
	b = appendPickle(b, m.name)
	b = appendPickle(b, m.value)
	return append(b, 't', '.')
}

// flagValue returns the flag as Python writes it: a bool in requests.
func flagValue(m message) any {
	if m.name == replyName {
		return m.flag
	}
	return m.flag == flagOneWay
}

// appendPickle appends v as part of a pickle of protocol 3.
func appendPickle(b []byte, v any) []byte {
	switch x := v.(type) {
	case nil:
		return append(b, 'N')
	case bool:
		if x {
			return append(b, 0x88)
		}
		return append(b, 0x89)
	case int64:
		return pickle.AppendInt(b, x)
	case float64:
		return pickle.AppendFloat(b, x)
	case string:
		return pickle.AppendText(b, x)
	case pickle.Bytes:
		return pickle.AppendBytes(b, x)
	case pickle.Tuple:
		return pickleTuple(b, x)
	case *pickle.List:
		b = append(b, ']', '(')
		for _, item := range x.Items {
			b = appendPickle(b, item)
		}
		return append(b, 'e')
	case *pickle.Dict:
		b = append(b, '}', '(')
		for _, item := range x.Items {
			b = appendPickle(appendPickle(b, item.Key), item.Value)
		}
		return append(b, 'u')
	}
	panic(fmt.Sprintf("BUG: zeo: a value of type %T cannot be pickled", v))
}

func pickleTuple(b []byte, t pickle.Tuple) []byte {
	if len(t) > 3 {
		b = append(b, '(')
	}
	for _, item := range t {
		b = appendPickle(b, item)
	}
	switch len(t) {
	case 0:
		return append(b, ')')
	case 1, 2, 3:
		return append(b, 0x84+byte(len(t)))
	}
	return append(b, 't')
}
