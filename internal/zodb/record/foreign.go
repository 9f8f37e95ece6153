package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"

	ogorek "github.com/kisielk/og-rek"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// decodeForeign decodes the first n pickles of the record, 1 or 2, by ogórek.
//
// Dicts are decoded to plain maps: a dict in ogórek's Python mode hashes the
// contents of keys, which takes exponential time if tuples share items.
func (m *machine) decodeForeign(n int) (desc, state Value, err error) {
	if len(m.data) > maxForeign {
		return desc, state, m.errorf("%d bytes are too many for a record of this kind", len(m.data))
	}
	m.pos = 0
	nops := 0
	for range n {
		if err := m.scan(&nops); err != nil {
			return desc, state, err
		}
	}
	if n == 2 && m.pos != len(m.data) {
		return desc, state, m.errorf("%d bytes behind the state", len(m.data)-m.pos)
	}
	objs, err := decodePickles(m.data[:m.pos], n)
	if err != nil {
		return desc, state, m.errorf("%s", err)
	}
	// The memo and the values of the machine are void now.
	m.foreign = objs
	desc = m.wrap(objs[0])
	if n == 2 {
		state = m.wrap(objs[1])
	}
	return desc, state, nil
}

// decodePickles decodes n pickles that share one memo and end with data.
func decodePickles(data []byte, n int) (objs []any, err error) {
	defer func() {
		if r := recover(); r != nil {
			objs, err = nil, fmt.Errorf("pickle cannot be decoded: %v", r)
		}
	}()
	d := ogorek.NewDecoderWithConfig(bytes.NewReader(data), &ogorek.DecoderConfig{StrictUnicode: true})
	for range n {
		obj, err := d.Decode()
		if err != nil {
			return nil, fmt.Errorf("pickle cannot be decoded: %w", err)
		}
		objs = append(objs, obj)
	}
	if _, err := d.Decode(); !errors.Is(err, io.EOF) {
		return nil, errors.New("pickle has no definite end")
	}
	return objs, nil
}

// wrap makes a Value of what ogórek decoded. Items of tuples are wrapped when
// they are asked for: a tuple may have exponentially many.
func (m *machine) wrap(obj any) Value {
	switch x := obj.(type) {
	case ogorek.None:
		return Value{m, val{kind: KindNone}}
	case int64:
		return Value{m, val{kind: KindInt, x: uint64(x)}}
	case *big.Int:
		if x.IsInt64() {
			return Value{m, val{kind: KindInt, x: uint64(x.Int64())}}
		}
	case ogorek.Bytes, ogorek.ByteString:
		return m.wrapAs(KindBytes, obj)
	case string:
		return m.wrapAs(KindText, obj)
	case ogorek.Tuple:
		return m.wrapAs(KindTuple, obj)
	case ogorek.Class:
		return Value{m, val{kind: KindClass, n: m.foreignClass(x)}}
	case ogorek.Ref:
		if v, ok := m.wrapRef(x.Pid); ok {
			return Value{m, v}
		}
	case ogorek.Call:
		if isEmptyBytes(x) {
			return m.wrapAs(KindBytes, ogorek.Bytes(""))
		}
	}
	return m.wrapAs(KindOther, obj)
}

func (m *machine) wrapAs(kind Kind, obj any) Value {
	m.foreign = append(m.foreign, obj)
	return Value{m, val{kind: kind, form: formForeign, x: uint64(len(m.foreign) - 1)}}
}

func (m *machine) foreignClass(c ogorek.Class) uint32 {
	m.classes = append(m.classes, Class{c.Module, c.Name})
	return uint32(len(m.classes) - 1)
}

// foreignBytes returns the content of a string that ogórek decoded.
func (m *machine) foreignBytes(v val) []byte {
	switch s := m.foreign[v.x].(type) {
	case ogorek.Bytes:
		return []byte(s)
	case ogorek.ByteString:
		return []byte(s)
	case string:
		return []byte(s)
	}
	return nil
}

// isEmptyBytes recognises bytes(), which is how Python 3 writes b” at protocol
// 2 and below.
func isEmptyBytes(call ogorek.Call) bool {
	switch call.Callable {
	case ogorek.Class{Module: "__builtin__", Name: "bytes"}, ogorek.Class{Module: "builtins", Name: "bytes"}:
		return len(call.Args) == 0
	}
	return false
}

// wrapRef understands the persistent ids of objects in the same database: an
// oid, or a tuple of an oid and a class. A class that is given as a tuple
// (module, name) is left out. Others, such as weak references, are no
// references for our purposes.
func (m *machine) wrapRef(pid any) (ref val, ok bool) {
	var class val
	if t, isTuple := pid.(ogorek.Tuple); isTuple {
		if len(t) != 2 {
			return ref, false
		}
		if c, isClass := t[1].(ogorek.Class); isClass {
			class.n = m.foreignClass(c) + 1
		}
		pid = t[0]
	}
	oid, ok := oidOf(pid)
	return val{kind: KindRef, n: class.n, x: uint64(oid)}, ok
}

// oidOf reads an oid. Python 3 turns byte strings of Python 2 into text where
// it can, so text of 8 ASCII characters is accepted.
func oidOf(obj any) (zodb.Oid, bool) {
	var b []byte
	switch s := obj.(type) {
	case ogorek.Bytes:
		b = []byte(s)
	case ogorek.ByteString:
		b = []byte(s)
	case string:
		b = []byte(s)
		for _, c := range b {
			if c >= 0x80 {
				return 0, false
			}
		}
	}
	if len(b) != oidLen {
		return 0, false
	}
	return zodb.Oid(binary.BigEndian.Uint64(b)), true
}
