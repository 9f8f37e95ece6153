package neoproto

import (
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Packet is what nodes send each other.
type Packet struct {
	ID  uint32 // of a request, and of its answer
	Msg Message
}

// IsAnswer reports whether a packet answers the request with its number.
func (p Packet) IsAnswer() bool { return p.Msg.Code()&Answer != 0 }

// Message is what a packet says. The types of this package are all that there are.
type Message interface {
	Code() Code
	append(b []byte) []byte // its arguments, as a list
}

// ---- identification ----

// Identify is the first request of a connection: who asks.
type Identify struct {
	Type     NodeType
	ID       NodeID // 0: it has none yet
	Address  string // host:port, empty: it listens nowhere
	Cluster  string
	Time     float64 // when the master has accepted it, 0: this is for a master
	ReadOnly bool    // a client that will not write
}

// Accepted answers Identify.
type Accepted struct {
	Type NodeType // of the node that answers
	ID   NodeID   // its id
	You  NodeID   // who has asked
}

// NotPrimary tells whom to ask instead of this master.
type NotPrimary struct {
	Primary int // index of a master, -1: it is not known
	Masters []string
}

// Error answers a request that was refused.
type Error struct {
	Kind ErrorCode
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%.200q)", e.Kind, e.Text) }

// ---- the cluster ----

// Node is an entry of the table of nodes.
type Node struct {
	Type    NodeType
	Address string // host:port, empty: none
	ID      NodeID // 0: a master that has none
	State   NodeState
	Time    float64 // when the master has accepted it, 0: it is not there
}

// Nodes tells of nodes: of all of them at first, and then of those that have changed.
type Nodes struct {
	Time  float64 // of the master; it grows
	Nodes []Node
}

// Cell is the copy of a partition on a node.
type Cell struct {
	Node  NodeID
	State CellState
}

// Table tells which node has which partition: a row for each partition.
type Table struct {
	ID       uint64 // it grows with changes
	Replicas uint64
	Rows     [][]Cell
}

// CellChange is a change of the table of partitions.
type CellChange struct {
	Partition int
	Cell
}

// TableChanges tells what has changed since the table before.
type TableChanges struct {
	ID       uint64
	Replicas uint64
	Cells    []CellChange
}

// ClusterNews tells the state of the cluster.
type ClusterNews struct{ State ClusterState }

// Commit tells of a transaction. Objects that it deletes are left out.
type Commit struct {
	Tid  zodb.Tid
	Oids []zodb.Oid
}

// ---- the database ----

// AskLast asks for the newest transaction.
type AskLast struct{}

// Last answers AskLast.
type Last struct{ Tid zodb.Tid }

// AskObject asks for a revision of an object: the one of transaction At, or the newest
// one before Before. The other one is 0.
type AskObject struct {
	Oid        zodb.Oid
	At, Before zodb.Tid
}

// Object answers AskObject.
type Object struct {
	Oid          zodb.Oid
	Serial, Next zodb.Tid // Next is the revision after it, 0 for none
	Compression  int      // of Data: Plain or Zlib
	Checksum     [20]byte // SHA-1 of Data
	Data         *storage.Buf
	DataSerial   zodb.Tid // the transaction whose data it shares, 0: it has its own
}

// Compressions.
const (
	Plain = 0
	Zlib  = 1
)

// Deleted reports whether there is no object from Serial on.
func (o *Object) Deleted() bool { return len(o.Data.Data) == 0 && o.Checksum == [20]byte{} }

// AskTids asks for transactions whose metadata is in a partition, at most Length.
type AskTids struct {
	From, To  zodb.Tid
	Length    int
	Partition int
}

// Tids answers AskTids, ascending.
type Tids struct{ Tids []zodb.Tid }

// AskTransaction asks what a transaction is.
type AskTransaction struct{ Tid zodb.Tid }

// Transaction answers AskTransaction. Its objects are what it has written, deleted and
// relied on.
type Transaction struct {
	Tid                          zodb.Tid
	User, Description, Extension []byte
	Packed                       bool
	Oids                         []zodb.Oid
}

// Begin asks a master to begin a transaction. A client that only reads is refused.
type Begin struct{}

// ---- signs ----

// Ping asks for a sign of life.
type Ping struct{}

// Pong answers Ping.
type Pong struct{}

// CloseClient says that the other side has finished.
type CloseClient struct{}

// Stop says that the cluster does not work any more.
type Stop struct{}

// FlushLog asks for nothing that concerns a client.
type FlushLog struct{}

func (*Identify) Code() Code       { return codeIdentify }
func (*Accepted) Code() Code       { return codeIdentify | Answer }
func (*NotPrimary) Code() Code     { return codeNotPrimary }
func (*Error) Code() Code          { return Answer }
func (*Nodes) Code() Code          { return codeNodes }
func (*Table) Code() Code          { return codeTable }
func (*TableChanges) Code() Code   { return codeTableChanges }
func (*ClusterNews) Code() Code    { return codeClusterState }
func (*Commit) Code() Code         { return codeCommit }
func (*AskLast) Code() Code        { return codeLast }
func (*Last) Code() Code           { return codeLast | Answer }
func (*AskObject) Code() Code      { return codeObject }
func (*Object) Code() Code         { return codeObject | Answer }
func (*AskTids) Code() Code        { return codeTids }
func (*Tids) Code() Code           { return codeTids | Answer }
func (*AskTransaction) Code() Code { return codeTransaction }
func (*Transaction) Code() Code    { return codeTransaction | Answer }
func (*Begin) Code() Code          { return codeBegin }
func (*Ping) Code() Code           { return codePing }
func (*Pong) Code() Code           { return codePing | Answer }
func (*CloseClient) Code() Code    { return codeCloseClient }
func (*Stop) Code() Code           { return codeStop }
func (*FlushLog) Code() Code       { return codeFlushLog }
