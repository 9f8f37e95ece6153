package neoproto

import (
	"encoding/binary"

	"github.com/tinylib/msgp/msgp"
	"lab.nexedi.com/kirr/neo/go/zodb"
)

// fixExt1 begins a value of an extension type that has one byte.
const fixExt1 = 0xd4

// Extension types of the enumerations.
const (
	extCellState    = 0
	extClusterState = 1
	extNodeState    = 3
	extNodeType     = 4
)

// Append appends a packet.
func Append(b []byte, p Packet) []byte {
	b = msgp.AppendArrayHeader(b, 3)
	b = msgp.AppendUint64(b, uint64(p.ID))
	b = msgp.AppendUint64(b, uint64(p.Msg.Code()))
	return p.Msg.append(b)
}

func appendList(b []byte, n int) []byte       { return msgp.AppendArrayHeader(b, uint32(n)) }
func appendUint(b []byte, n int) []byte       { return msgp.AppendUint64(b, uint64(n)) }
func appendEnum(b []byte, ext, v byte) []byte { return append(b, fixExt1, ext, v) }
func appendText(b []byte, s string) []byte    { return msgp.AppendBytes(b, []byte(s)) }

// appendNode appends the id of a node, nil for none.
func appendNode(b []byte, id NodeID) []byte {
	switch {
	case id == 0:
		return msgp.AppendNil(b)
	case id > 0:
		return msgp.AppendUint64(b, uint64(id))
	}
	return msgp.AppendInt64(b, int64(id))
}

// appendTime appends a time, nil for none.
func appendTime(b []byte, t float64) []byte {
	if t == 0 {
		return msgp.AppendNil(b)
	}
	return msgp.AppendFloat64(b, t)
}

func appendID(b []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 0xc4, 8), n)
}

func appendTid(b []byte, tid zodb.Tid) []byte { return appendID(b, uint64(tid)) }
func appendOid(b []byte, oid zodb.Oid) []byte { return appendID(b, uint64(oid)) }

// appendSomeTid appends a tid, nil for 0.
func appendSomeTid(b []byte, tid zodb.Tid) []byte {
	if tid == 0 {
		return msgp.AppendNil(b)
	}
	return appendTid(b, tid)
}

func appendOids(b []byte, oids []zodb.Oid) []byte {
	b = appendList(b, len(oids))
	for _, oid := range oids {
		b = appendOid(b, oid)
	}
	return b
}
