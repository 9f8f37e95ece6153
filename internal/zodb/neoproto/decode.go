package neoproto

import (
	"math"
	"net"
	"strconv"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// message reads the arguments of a packet.
func (r *Reader) message(code Code) Message {
	switch code {
	case codeIdentify:
		return r.identify()
	case codeIdentify | Answer:
		r.exactly(3, "an acceptance")
		return &Accepted{NodeType(r.enum(extNodeType, byte(nodeTypes))), r.nodeID(), r.nodeID()}
	case codeNotPrimary:
		return r.notPrimary()
	case Answer:
		r.exactly(2, "an error")
		return &Error{ErrorCode(r.uint(math.MaxUint8)), string(r.bytes())}
	case codeNodes:
		return r.nodes()
	case codeTable:
		return r.table()
	case codeTableChanges:
		return r.tableChanges()
	case codeClusterState:
		r.exactly(1, "the state of a cluster")
		return &ClusterNews{ClusterState(r.enum(extClusterState, byte(clusterStates)))}
	case codeCommit:
		r.exactly(2, "a commit")
		return &Commit{r.tid(), r.oids()}
	}
	return r.data(code)
}

// data reads the arguments of what concerns the content of a database, and of signs.
func (r *Reader) data(code Code) Message {
	switch code {
	case codeLast | Answer:
		r.exactly(1, "a last transaction")
		return &Last{r.tid()}
	case codeObject:
		r.exactly(3, "a question for an object")
		return &AskObject{r.oid(), r.tid(), r.tid()}
	case codeObject | Answer:
		return r.object()
	case codeTids:
		r.exactly(4, "a question for transactions")
		return &AskTids{r.tid(), r.tid(), int(r.uint(math.MaxInt32)), int(r.uint(math.MaxInt32))}
	case codeTids | Answer:
		m := &Tids{}
		r.exactly(1, "a list of transactions")
		r.list(func() { m.Tids = append(m.Tids, r.tid()) })
		return m
	case codeTransaction:
		r.exactly(1, "a question for a transaction")
		return &AskTransaction{r.tid()}
	case codeTransaction | Answer:
		r.exactly(6, "a transaction")
		return &Transaction{r.tid(), r.bytes(), r.bytes(), r.bytes(), r.bool(), r.oids()}
	case codeBegin:
		r.exactly(1, "a question for a new transaction")
		r.tid()
		return &Begin{}
	}
	return r.sign(code)
}

func (r *Reader) sign(code Code) (m Message) {
	switch code {
	case codeLast:
		m = &AskLast{}
	case codePing:
		m = &Ping{}
	case codePing | Answer:
		m = &Pong{}
	case codeCloseClient:
		m = &CloseClient{}
	case codeStop:
		m = &Stop{}
	case codeFlushLog:
		m = &FlushLog{}
	default:
		r.wrongf("a packet of code 0x%04x, which is none for a client", uint16(code))
		return nil
	}
	r.exactly(0, "a sign")
	return m
}

func (r *Reader) identify() Message {
	r.exactly(6, "an identification")
	m := &Identify{Type: NodeType(r.enum(extNodeType, byte(nodeTypes))), ID: r.someNode(), Address: r.address(), Cluster: string(r.bytes()), Time: r.time()}
	if r.err != nil {
		return m
	}
	n, err := r.r.ReadMapHeader()
	r.fail(err)
	for range n {
		if r.err != nil {
			break
		}
		key := string(r.bytes())
		yes := r.bool()
		m.ReadOnly = m.ReadOnly || key == keyReadOnly && yes
	}
	return m
}

// someNode reads the id of a node that may be absent.
func (r *Reader) someNode() NodeID {
	if r.none() {
		return 0
	}
	return r.nodeID()
}

// time reads a time that may be absent.
func (r *Reader) time() float64 {
	if r.none() {
		return 0
	}
	return r.float()
}

// address reads a pair of host and port, empty if it is absent.
func (r *Reader) address() string {
	if r.none() {
		return ""
	}
	r.exactly(2, "an address")
	host := string(r.bytes())
	return net.JoinHostPort(host, strconv.FormatUint(r.uint(math.MaxUint16), 10))
}

func (r *Reader) notPrimary() Message {
	m := &NotPrimary{Primary: -1}
	r.exactly(2, "a word of a secondary master")
	if !r.none() {
		m.Primary = int(r.uint(math.MaxInt32))
	}
	r.list(func() { m.Masters = append(m.Masters, r.address()) })
	if m.Primary >= len(m.Masters) {
		r.wrongf("the primary master is number %d of %d", m.Primary, len(m.Masters))
	}
	return m
}

func (r *Reader) nodes() Message {
	r.exactly(2, "news of nodes")
	m := &Nodes{Time: r.float()}
	r.list(func() {
		r.exactly(5, "a node")
		m.Nodes = append(m.Nodes, Node{
			NodeType(r.enum(extNodeType, byte(nodeTypes))), r.address(), r.someNode(), NodeState(r.enum(extNodeState, byte(nodeStates))), r.time(),
		})
	})
	return m
}

func (r *Reader) table() Message {
	r.exactly(3, "a table of partitions")
	m := &Table{ID: r.uint(math.MaxUint64), Replicas: r.uint(math.MaxUint64)}
	r.list(func() {
		var row []Cell
		r.list(func() {
			r.exactly(2, "a cell")
			row = append(row, r.cell())
		})
		m.Rows = append(m.Rows, row)
	})
	return m
}

func (r *Reader) cell() Cell {
	return Cell{r.nodeID(), CellState(r.enum(extCellState, byte(cellStates)))}
}

func (r *Reader) tableChanges() Message {
	r.exactly(3, "changes of the table of partitions")
	m := &TableChanges{ID: r.uint(math.MaxUint64), Replicas: r.uint(math.MaxUint64)}
	r.list(func() {
		r.exactly(3, "a change of a cell")
		m.Cells = append(m.Cells, CellChange{int(r.uint(math.MaxInt32)), r.cell()})
	})
	return m
}

func (r *Reader) oids() (oids []zodb.Oid) {
	r.list(func() { oids = append(oids, r.oid()) })
	return oids
}

func (r *Reader) object() Message {
	r.exactly(7, "an object")
	m := &Object{Oid: r.oid(), Serial: r.tid(), Next: r.tid()}
	if !r.none() {
		m.Compression = int(r.uint(math.MaxUint8))
	}
	r.full(m.Checksum[:], "a checksum")
	if r.err == nil {
		m.Data = r.buffer()
	}
	m.DataSerial = r.tid()
	if m.Data == nil {
		m.Data = storage.NewBuf(0)
	}
	return m
}
