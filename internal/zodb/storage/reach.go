package storage

import (
	"fmt"
	"strings"
	"time"
)

// Reach tells whether a server is there.
type Reach struct {
	// Up says that it is connected, and that all that was committed while it was not
	// is in the stream.
	Up bool

	// Since when it is not up, and why. Why there is no connection yet counts more
	// than why it was lost. After a *DownError nobody tries any more.
	Since time.Time
	Err   error

	Reconnects uint64 // connections that were made after the first one
	Nodes      []Node // of which the server consists, if it is a cluster that is connected
}

// Node is one of the servers of a cluster.
type Node struct {
	Role      string // as in "master" and "storage"
	Name      string // in the cluster, empty: it has none
	Address   string // host:port
	State     string // as the cluster says
	Connected bool
	Parts     int    // parts of the database that can be read from it
	Answers   uint64 // that it gave over this connection to the cluster
	Err       error  // why it did not answer last, nil: it did
}

// String says it in words for an operator.
func (r Reach) String() string {
	if !r.Up {
		return fmt.Sprintf("disconnected since %s (%s): %s; what is cached stays readable, and all goes on by itself when the server is back",
			r.Since.Format(time.DateTime), time.Since(r.Since).Round(time.Second), r.Err)
	}
	var b strings.Builder
	b.WriteString(Connected)
	for _, n := range r.Nodes {
		b.WriteString("\n  " + n.String())
	}
	return b.String()
}

// Connected is the first line of the words for a server that is there.
const Connected = "connected"

// String says it in words for an operator.
func (n Node) String() string {
	var b strings.Builder
	b.WriteString(n.Role)
	if n.Name != "" {
		b.WriteString(" " + n.Name)
	}
	fmt.Fprintf(&b, " at %s: %s", n.Address, n.State)
	if n.Connected {
		b.WriteString(", connected")
	}
	if n.Role == RoleStorage {
		fmt.Fprintf(&b, ", %d partitions to read, %d answers", n.Parts, n.Answers)
	}
	if n.Err != nil {
		fmt.Fprintf(&b, "; it failed last: %s", n.Err)
	}
	return b.String()
}

// RoleStorage is the role of nodes that have data.
const RoleStorage = "storage"
