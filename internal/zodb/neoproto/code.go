package neoproto

import "fmt"

// Version is that of the protocol. Both sides must have the same.
const Version = 5

// Hello is what both sides begin with, at once.
const Hello = HelloPrefix + "\x05"

// HelloPrefix is what a hello of another version begins with, too.
const HelloPrefix = "\x92\xa3NEO"

// Code tells the kind of a message.
type Code uint16

// Answer is the bit that the codes of answers have. Alone it is the code of Error.
const Answer Code = 0x8000

// Codes of requests and notifications.
const (
	codeIdentify     Code = 0x01
	codePing         Code = 0x02
	codeCloseClient  Code = 0x03
	codeNotPrimary   Code = 0x05
	codeNodes        Code = 0x06
	codeTable        Code = 0x0a
	codeTableChanges Code = 0x0b
	codeStop         Code = 0x0d
	codeBegin        Code = 0x12
	codeCommit       Code = 0x16
	codeObject       Code = 0x20
	codeTransaction  Code = 0x22
	codeClusterState Code = 0x2d
	codeTids         Code = 0x30
	codeLast         Code = 0x3c
	codeFlushLog     Code = 0x46
)

// NodeID names a node in a cluster. 0 is none.
type NodeID int32

// String writes an id like the tools of NEO: by the kind of node and a number.
func (id NodeID) String() string {
	kind, n := byte('S'), uint32(id)
	switch n >> 28 {
	case 0xf:
		kind = 'M'
	case 0xe:
		kind = 'C'
	case 0xd:
		kind = 'A'
	}
	return fmt.Sprintf("%c%d", kind, n&0x0fffffff)
}

// NodeType is what a node does.
type NodeType byte

// Kinds of nodes.
const (
	Master NodeType = iota
	StorageNode
	Client
	Admin
	nodeTypes
)

func (t NodeType) String() string {
	return name("node type", int(t), "master", "storage", "client", "admin")
}

// NodeState is how a node is.
type NodeState byte

// States of nodes. A node that is Unknown is to be forgotten.
const (
	Unknown NodeState = iota
	Down
	Running
	Pending
	nodeStates
)

func (s NodeState) String() string {
	return name("node state", int(s), "unknown", "down", "running", "pending")
}

// CellState is how the copy of a partition on a node is.
type CellState byte

// States of cells. A cell that is UpToDate or Feeding can be read.
const (
	OutOfDate CellState = iota
	UpToDate
	Feeding
	Corrupted
	Discarded
	cellStates
)

func (s CellState) String() string {
	return name("cell state", int(s), "out of date", "up to date", "feeding", "corrupted", "discarded")
}

// Readable reports whether a cell can be read.
func (s CellState) Readable() bool { return s == UpToDate || s == Feeding }

// ClusterState is how a cluster is.
type ClusterState byte

// States of clusters.
const (
	Recovering ClusterState = iota
	Verifying
	RunningCluster
	Stopping
	StartingBackup
	BackingUp
	StoppingBackup
	clusterStates
)

func (s ClusterState) String() string {
	return name("cluster state", int(s), "recovering", "verifying", "running", "stopping", "starting backup", "backing up", "stopping backup")
}

// ErrorCode tells the kind of an Error.
type ErrorCode byte

// Kinds of errors.
const (
	Ack ErrorCode = iota
	Denied
	NotReady
	OidNotFound
	TidNotFound
	OidDoesNotExist
	ProtocolViolation
	ReplicationError
	CheckingError
	BackendNotImplemented
	NonReadableCell
	ReadOnlyAccess
	IncompleteTransaction
	UndoPackError
)

func (c ErrorCode) String() string {
	return name("error", int(c), "ACK", "DENIED", "NOT_READY", "OID_NOT_FOUND", "TID_NOT_FOUND", "OID_DOES_NOT_EXIST", "PROTOCOL_ERROR",
		"REPLICATION_ERROR", "CHECKING_ERROR", "BACKEND_NOT_IMPLEMENTED", "NON_READABLE_CELL", "READ_ONLY_ACCESS", "INCOMPLETE_TRANSACTION",
		"UNDO_PACK_ERROR")
}

func name(kind string, n int, names ...string) string {
	if n < len(names) {
		return names[n]
	}
	return fmt.Sprintf("%s %d", kind, n)
}
