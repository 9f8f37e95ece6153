package neotest

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
)

// Node is a master or a storage.
type Node struct {
	ID   neoproto.NodeID
	Addr string // host:port

	c    *Cluster
	kind neoproto.NodeType

	// Guarded by Cluster.mu.
	listener net.Listener // nil: nobody listens
	conns    map[*conn]bool
	up       bool // as far as the master knows
	manners  manners
	asked    int // requests that it got

	// Of storages, guarded by Cluster.mu.
	deaf    bool                        // it gets no news of clients
	news    float64                     // time of the last news of clients
	known   map[neoproto.NodeID]float64 // clients, and when the master has accepted them
	locks   map[zodb.Tid]*txn           // commits that are not unlocked
	damaged map[zodb.Oid]Damage
}

// newNode makes a node with an address. It is to be started.
func (c *Cluster) newNode(kind neoproto.NodeType, id neoproto.NodeID, host string) *Node {
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		panic(fmt.Sprintf("neotest: %s", err))
	}
	return &Node{
		ID: id, Addr: l.Addr().String(), c: c, kind: kind, listener: l,
		conns: make(map[*conn]bool), known: make(map[neoproto.NodeID]float64),
		locks: make(map[zodb.Tid]*txn), damaged: make(map[zodb.Oid]Damage), manners: manners{left: -1},
	}
}

// Start has the node listen and the master know of it. The cells of a storage that missed
// something stay out of date; see CatchUp.
func (n *Node) Start() {
	n.Return()
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.up = true
	if n.kind == neoproto.StorageNode {
		n.c.back(n)
	}
}

// Stop ends the node as a crash does, of which the master hears at once. The cells of a
// storage that are not needed to go on become out of date. If one is needed, all clients
// are sent away until the storage is back.
func (n *Node) Stop() {
	n.Vanish()
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if !n.up {
		return
	}
	if n.up = false; n.kind == neoproto.StorageNode {
		n.c.lost(n)
	}
}

// Vanish ends the node, and nobody tells.
func (n *Node) Vanish() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if n.listener != nil {
		_ = n.listener.Close()
		n.listener = nil
	}
	n.cut()
}

// Return has a node listen again that has vanished.
func (n *Node) Return() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if n.listener == nil {
		l, err := net.Listen("tcp", n.Addr)
		if err != nil {
			panic(fmt.Sprintf("neotest: %s", err))
		}
		n.listener = l
	} else if n.up {
		return
	}
	l := n.listener
	n.c.running.Go(func() { n.accept(l) })
}

// Cut ends all connections of the node.
func (n *Node) Cut() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.cut()
}

// cut ends all connections. c.mu must be held.
func (n *Node) cut() {
	for k := range n.conns {
		k.end()
	}
}

// Conns returns how many connections the node has.
func (n *Node) Conns() int {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return len(n.conns)
}

// Asked returns how many requests the node has got.
func (n *Node) Asked() int {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.asked
}

// accept takes connections until l is closed.
func (n *Node) accept(l net.Listener) {
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		k := newConn(n, raw)
		n.c.mu.Lock()
		if n.listener == l {
			n.conns[k] = true
		} else {
			k.end() // it was accepted on the way to its end
		}
		n.c.mu.Unlock()
		n.c.running.Go(k.read)
		n.c.running.Go(k.write)
	}
}

// encrypted returns what a connection is read and written by.
func (n *Node) encrypted(raw net.Conn) net.Conn {
	if n.c.opt.TLS == nil {
		return raw
	}
	return tls.Server(raw, n.c.opt.TLS.config())
}

// closed forgets a connection. c.mu must be held.
func (n *Node) closed(k *conn) {
	delete(n.conns, k)
	n.c.waiting = slices.DeleteFunc(n.c.waiting, func(r request) bool { return r.from == k })
	if _, ok := n.c.clients[k]; ok {
		delete(n.c.clients, k)
		n.c.inform()
	}
}
