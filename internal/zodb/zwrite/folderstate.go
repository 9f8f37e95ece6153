package zwrite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
)

// maxValueNest bounds how deep values may be inside of each other.
const maxValueNest = 100

// encodeMapping returns the record of a PersistentMapping, of which old is one, with
// other items. The values that are known are written, with opcodes that every version
// of Python knows, so that a record of Python 2 stays one.
func encodeMapping(old []byte, items []pickle.Item) ([]byte, error) {
	class, state, err := pickle.Split(old)
	if err != nil {
		return nil, err
	}
	_, value, err := pickle.Record(old)
	if err != nil {
		return nil, err
	}
	outer, ok := value.(*pickle.Dict)
	if !ok || len(outer.Items) != 1 {
		return nil, errors.New("its form is not understood")
	}
	_, text := outer.Items[0].Key.(string) // a str of Python 2 is none
	e := valueEncoder{python3: text && len(state) > 1 && state[0] == 0x80 && state[1] >= 3, classes: make(map[record.Class]byte), seen: make(map[any]bool)}
	e.buf = append(e.buf, class...)
	if state[0] == 0x80 {
		e.buf = append(e.buf, state[:2]...)
	}
	e.buf = append(e.buf, '}')
	if err := e.value(outer.Items[0].Key, 0); err != nil {
		return nil, err
	}
	e.buf = append(e.buf, '}')
	for _, item := range items {
		if err := e.pair(item, 1); err != nil {
			return nil, err
		}
		e.buf = append(e.buf, 's')
	}
	return append(e.buf, "s."...), nil // as spliceRoot needs it
}

// valueEncoder writes values as pickles of protocol 1. A record.Encoder cannot, since it
// writes what Python 3 does.
type valueEncoder struct {
	buf     []byte
	python3 bool // byte strings are bytes, for which protocol 3 has opcodes
	classes map[record.Class]byte
	seen    map[any]bool // lists and dicts, which must not be there twice
}

func (e *valueEncoder) pair(item pickle.Item, depth int) error {
	if err := e.value(item.Key, depth); err != nil {
		return err
	}
	return e.value(item.Value, depth)
}

func (e *valueEncoder) value(v any, depth int) error {
	if depth > maxValueNest {
		return errors.New("its values are nested too deep")
	}
	switch v := v.(type) {
	case nil:
		e.buf = append(e.buf, 'N')
	case bool:
		e.buf = append(e.buf, map[bool]string{true: "I01\n", false: "I00\n"}[v]...)
	case int64:
		if v == int64(int32(v)) {
			e.buf = binary.LittleEndian.AppendUint32(append(e.buf, 'J'), uint32(v))
		} else {
			e.buf = fmt.Appendf(e.buf, "L%dL\n", v)
		}
	case *big.Int:
		e.buf = fmt.Appendf(e.buf, "L%dL\n", v)
	case float64:
		e.buf = pickle.AppendFloat(e.buf, v)
	case string:
		e.buf = pickle.AppendText(e.buf, v)
	case pickle.Bytes:
		e.bytes(v)
	case record.Class:
		e.class(v)
	case pickle.Ref:
		e.ref(v)
	default:
		return e.container(v, depth+1)
	}
	return nil
}

func (e *valueEncoder) bytes(s pickle.Bytes) {
	if e.python3 {
		e.buf = pickle.AppendBytes(e.buf, s)
	} else {
		e.buf = pickle.AppendString(e.buf, s)
	}
}

// class appends a class, the second time from the memo.
func (e *valueEncoder) class(c record.Class) {
	if index, ok := e.classes[c]; ok {
		e.buf = append(e.buf, 'h', index)
		return
	}
	e.buf = append(e.buf, "c"+c.Module+"\n"+c.Name+"\n"...)
	if n := len(e.classes); n < math.MaxUint8 {
		e.classes[c] = byte(n)
		e.buf = append(e.buf, 'q', byte(n))
	}
}

func (e *valueEncoder) ref(r pickle.Ref) {
	oid := pickle.Bytes(binary.BigEndian.AppendUint64(nil, uint64(r.Oid)))
	if r.Class == (record.Class{}) {
		e.bytes(oid)
	} else {
		e.buf = append(e.buf, '(')
		e.bytes(oid)
		e.class(r.Class)
		e.buf = append(e.buf, 't')
	}
	e.buf = append(e.buf, 'Q')
}

func (e *valueEncoder) container(v any, depth int) error {
	switch v.(type) {
	case *pickle.List, *pickle.Dict:
		if e.seen[v] {
			return errors.New("a value is there twice")
		}
		e.seen[v] = true
	}
	switch v := v.(type) {
	case pickle.Tuple:
		e.buf = append(e.buf, '(')
		for _, item := range v {
			if err := e.value(item, depth); err != nil {
				return err
			}
		}
		e.buf = append(e.buf, 't')
	case *pickle.List:
		e.buf = append(e.buf, ']')
		for _, item := range v.Items {
			if err := e.value(item, depth); err != nil {
				return err
			}
			e.buf = append(e.buf, 'a')
		}
	case *pickle.Dict:
		e.buf = append(e.buf, '}')
		for _, item := range v.Items {
			if err := e.pair(item, depth); err != nil {
				return err
			}
			e.buf = append(e.buf, 's')
		}
	case *pickle.Object:
		return fmt.Errorf("it has a value that is a %.100v", v.New)
	default:
		return fmt.Errorf("it has a value that is a %T", v)
	}
	return nil
}
