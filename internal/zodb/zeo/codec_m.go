package zeo

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/tinylib/msgp/msgp"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
)

// codecM encodes messages with msgpack.
type codecM struct{}

// maxDepth bounds how deep values may be nested, since they are decoded by recursion.
const maxDepth = 100

func (codecM) append(b []byte, m message) []byte {
	b = msgp.AppendArrayHeader(b, 4)
	b = msgp.AppendInt64(b, m.id)
	b = appendMsgpack(b, flagValue(m))
	b = msgp.AppendString(b, m.name)
	return appendMsgpack(b, m.value)
}

func appendMsgpack(b []byte, v any) []byte {
	switch x := v.(type) {
	case nil:
		return msgp.AppendNil(b)
	case bool:
		return msgp.AppendBool(b, x)
	case int64:
		return msgp.AppendInt64(b, x)
	case float64:
		return msgp.AppendFloat64(b, x)
	case string:
		return msgp.AppendString(b, x)
	case pickle.Bytes:
		return msgp.AppendBytes(b, []byte(x))
	case *pickle.Dict:
		b = msgp.AppendMapHeader(b, uint32(len(x.Items)))
		for _, item := range x.Items {
			b = appendMsgpack(appendMsgpack(b, item.Key), item.Value)
		}
		return b
	}
	values, ok := items(v)
	if !ok {
		panic(fmt.Sprintf("BUG: zeo: a value of type %T cannot be packed", v))
	}
	b = msgp.AppendArrayHeader(b, uint32(len(values)))
	for _, item := range values {
		b = appendMsgpack(b, item)
	}
	return b
}

func (codecM) decode(data []byte) (message, error) {
	v, rest, err := readMsgpack(data, maxDepth)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes behind the end", len(rest))
	}
	if err != nil {
		return message{}, protocolErrorf("at byte %d of the message: %s", len(data)-len(rest), err)
	}
	return toMessage(v)
}

// readMsgpack reads one value and returns what follows it. Memory is in proportion to b:
// whatever tells how many items follow is compared with how many bytes do.
func readMsgpack(b []byte, depth int) (v any, rest []byte, err error) {
	switch msgp.NextType(b) {
	case msgp.NilType:
		rest, err = msgp.ReadNilBytes(b)
	case msgp.BoolType:
		v, rest, err = msgp.ReadBoolBytes(b)
	case msgp.IntType:
		v, rest, err = msgp.ReadInt64Bytes(b)
	case msgp.UintType:
		return readUint(b)
	case msgp.Float64Type, msgp.Float32Type:
		v, rest, err = msgp.ReadFloat64Bytes(b)
	case msgp.StrType:
		v, rest, err = msgp.ReadStringBytes(b)
	case msgp.BinType:
		return readBin(b)
	case msgp.ArrayType:
		return readArray(b, depth)
	case msgp.MapType:
		return readMap(b, depth)
	default:
		if len(b) == 0 {
			return nil, b, msgp.ErrShortBytes
		}
		return nil, b, fmt.Errorf("a value of unknown type %#02x", b[0])
	}
	if err != nil {
		return nil, b, err
	}
	return v, rest, nil
}

// readUint reads an unsigned integer. Nothing that servers count needs the last bit.
func readUint(b []byte) (any, []byte, error) {
	u, rest, err := msgp.ReadUint64Bytes(b)
	if err == nil && u > math.MaxInt64 {
		err = fmt.Errorf("integer %d is too big", u)
	}
	if err != nil {
		return nil, b, err
	}
	return int64(u), rest, nil
}

// readBin reads bytes and leaves them where they are.
func readBin(b []byte) (any, []byte, error) {
	bin, rest, err := msgp.ReadBytesZC(b)
	if err != nil {
		return nil, b, err
	}
	return pickle.Bytes(unsafe.String(unsafe.SliceData(bin), len(bin))), rest, nil
}

func readArray(b []byte, depth int) (any, []byte, error) {
	n, rest, err := msgp.ReadArrayHeaderBytes(b)
	if err == nil {
		err = plausible(int64(n), rest, depth)
	}
	if err != nil {
		return nil, b, err
	}
	t := make(pickle.Tuple, n)
	for i := range t {
		if t[i], rest, err = readMsgpack(rest, depth-1); err != nil {
			return nil, rest, err
		}
	}
	return t, rest, nil
}

func readMap(b []byte, depth int) (any, []byte, error) {
	n, rest, err := msgp.ReadMapHeaderBytes(b)
	if err == nil {
		err = plausible(2*int64(n), rest, depth)
	}
	if err != nil {
		return nil, b, err
	}
	d := &pickle.Dict{Items: make([]pickle.Item, n)}
	for i := range d.Items {
		item := &d.Items[i]
		if item.Key, rest, err = readMsgpack(rest, depth-1); err != nil {
			return nil, rest, err
		}
		if item.Value, rest, err = readMsgpack(rest, depth-1); err != nil {
			return nil, rest, err
		}
	}
	return d, rest, nil
}

// plausible checks that n values can follow: each takes a byte at least.
func plausible(n int64, rest []byte, depth int) error {
	switch {
	case n > int64(len(rest)):
		return fmt.Errorf("%d values, but only %d bytes follow", n, len(rest))
	case depth == 0:
		return fmt.Errorf("values are nested more than %d levels deep", maxDepth)
	}
	return nil
}
