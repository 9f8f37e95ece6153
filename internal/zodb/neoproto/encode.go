package neoproto

import (
	"net"
	"strconv"

	"github.com/tinylib/msgp/msgp"
)

func (m *Identify) append(b []byte) []byte {
	b = appendEnum(appendList(b, 6), extNodeType, byte(m.Type))
	b = appendAddress(appendNode(b, m.ID), m.Address)
	b = appendTime(appendText(b, m.Cluster), m.Time)
	if !m.ReadOnly {
		return msgp.AppendMapHeader(b, 0)
	}
	return msgp.AppendBool(appendText(msgp.AppendMapHeader(b, 1), keyReadOnly), true)
}

const keyReadOnly = "read_only"

// appendAddress appends host:port as a pair, nil for none.
func appendAddress(b []byte, address string) []byte {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return msgp.AppendNil(b)
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	return msgp.AppendUint64(appendText(appendList(b, 2), host), n)
}

func (m *Accepted) append(b []byte) []byte {
	b = appendEnum(appendList(b, 3), extNodeType, byte(m.Type))
	return appendNode(appendNode(b, m.ID), m.You)
}

func (m *NotPrimary) append(b []byte) []byte {
	b = appendList(b, 2)
	if m.Primary < 0 {
		b = msgp.AppendNil(b)
	} else {
		b = appendUint(b, m.Primary)
	}
	b = appendList(b, len(m.Masters))
	for _, address := range m.Masters {
		b = appendAddress(b, address)
	}
	return b
}

func (m *Error) append(b []byte) []byte {
	return appendText(appendUint(appendList(b, 2), int(m.Kind)), m.Text)
}

func (m *Nodes) append(b []byte) []byte {
	b = msgp.AppendFloat64(appendList(b, 2), m.Time)
	b = appendList(b, len(m.Nodes))
	for _, n := range m.Nodes {
		b = appendAddress(appendEnum(appendList(b, 5), extNodeType, byte(n.Type)), n.Address)
		b = appendTime(appendEnum(appendNode(b, n.ID), extNodeState, byte(n.State)), n.Time)
	}
	return b
}

func (m *Table) append(b []byte) []byte {
	b = msgp.AppendUint64(msgp.AppendUint64(appendList(b, 3), m.ID), m.Replicas)
	b = appendList(b, len(m.Rows))
	for _, row := range m.Rows {
		b = appendList(b, len(row))
		for _, cell := range row {
			b = appendCell(appendList(b, 2), cell)
		}
	}
	return b
}

func appendCell(b []byte, c Cell) []byte {
	return appendEnum(appendNode(b, c.Node), extCellState, byte(c.State))
}

func (m *TableChanges) append(b []byte) []byte {
	b = msgp.AppendUint64(msgp.AppendUint64(appendList(b, 3), m.ID), m.Replicas)
	b = appendList(b, len(m.Cells))
	for _, change := range m.Cells {
		b = appendCell(appendUint(appendList(b, 3), change.Partition), change.Cell)
	}
	return b
}

func (m *ClusterNews) append(b []byte) []byte {
	return appendEnum(appendList(b, 1), extClusterState, byte(m.State))
}

func (m *Commit) append(b []byte) []byte {
	return appendOids(appendTid(appendList(b, 2), m.Tid), m.Oids)
}

func (m *Last) append(b []byte) []byte { return appendTid(appendList(b, 1), m.Tid) }

func (m *AskObject) append(b []byte) []byte {
	b = appendOid(appendList(b, 3), m.Oid)
	return appendSomeTid(appendSomeTid(b, m.At), m.Before)
}

func (m *Object) append(b []byte) []byte {
	b = appendTid(appendOid(appendList(b, 7), m.Oid), m.Serial)
	b = appendSomeTid(b, m.Next)
	if m.Deleted() {
		b = msgp.AppendNil(b)
	} else {
		b = appendUint(b, m.Compression)
	}
	b = msgp.AppendBytes(b, m.Checksum[:])
	b = msgp.AppendBytes(b, m.Data.Data)
	return appendSomeTid(b, m.DataSerial)
}

func (m *AskTids) append(b []byte) []byte {
	b = appendTid(appendTid(appendList(b, 4), m.From), m.To)
	return appendUint(appendUint(b, m.Length), m.Partition)
}

func (m *Tids) append(b []byte) []byte {
	b = appendList(appendList(b, 1), len(m.Tids))
	for _, tid := range m.Tids {
		b = appendTid(b, tid)
	}
	return b
}

func (m *AskTransaction) append(b []byte) []byte { return appendTid(appendList(b, 1), m.Tid) }

func (m *Transaction) append(b []byte) []byte {
	b = appendTid(appendList(b, 6), m.Tid)
	for _, text := range [][]byte{m.User, m.Description, m.Extension} {
		b = msgp.AppendBytes(b, text)
	}
	return appendOids(msgp.AppendBool(b, m.Packed), m.Oids)
}

func (*Begin) append(b []byte) []byte { return msgp.AppendNil(appendList(b, 1)) }

func (*AskLast) append(b []byte) []byte     { return appendList(b, 0) }
func (*Ping) append(b []byte) []byte        { return appendList(b, 0) }
func (*Pong) append(b []byte) []byte        { return appendList(b, 0) }
func (*CloseClient) append(b []byte) []byte { return appendList(b, 0) }
func (*Stop) append(b []byte) []byte        { return appendList(b, 0) }
func (*FlushLog) append(b []byte) []byte    { return appendList(b, 0) }
