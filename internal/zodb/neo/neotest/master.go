package neotest

import (
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
)

// master answers a request to a master. c.mu must be held.
func (c *Cluster) master(k *conn, p neoproto.Packet) (later bool) {
	identify, ok := p.Msg.(*neoproto.Identify)
	switch {
	case ok && k.client == 0:
		c.identify(k, p, identify)
		return false
	case ok || k.client == 0:
		k.unexpected(p)
		return false
	}
	switch p.Msg.(type) {
	case *neoproto.AskLast:
		k.answer(p, &neoproto.Last{Tid: c.last})
	case *neoproto.Begin:
		k.fail(p, neoproto.ReadOnlyAccess, "read-only access as requested by the client")
	default:
		k.unexpected(p)
	}
	return false
}

// identify answers a client that wants to be accepted by a master.
func (c *Cluster) identify(k *conn, p neoproto.Packet, m *neoproto.Identify) {
	switch {
	case m.Cluster != c.opt.Name:
		k.refuse(p, neoproto.ProtocolViolation, "invalid cluster name")
		return
	case k.n != c.primary:
		primary := -1
		if c.primary != nil && c.primary.up {
			primary = slices.Index(c.Masters, c.primary)
		}
		m := &neoproto.NotPrimary{Primary: primary}
		for _, n := range c.Masters {
			m.Masters = append(m.Masters, n.Addr)
		}
		k.tell(m)
		k.abort()
		return
	case c.state != neoproto.RunningCluster && c.state != neoproto.BackingUp:
		k.refuse(p, neoproto.NotReady, "Retry Later")
		return
	case m.Type != neoproto.Client || m.Time != 0 || m.Address != "":
		c.complain("an identification with a master as %s at %q of time %f", m.Type, m.Address, m.Time)
		k.refuse(p, neoproto.ProtocolViolation, "unexpected identification")
		return
	case c.state == neoproto.BackingUp && !m.ReadOnly:
		k.fail(p, neoproto.ReadOnlyAccess, "read-write access requested but cluster is backing up")
		return
	}
	if !m.ReadOnly {
		c.complain("a client that does not say that it only reads")
	}
	c.accept(k, p)
}

// accept makes a client of a connection, and tells it all that there is.
func (c *Cluster) accept(k *conn, p neoproto.Packet) {
	c.lastClient++
	k.client = c.lastClient
	since := c.now()
	c.clients[k] = since
	c.inform()
	k.answer(p, &neoproto.Accepted{Type: neoproto.Master, ID: k.n.ID, You: k.client})
	all := []neoproto.Node{{Type: neoproto.Client, ID: k.client, State: neoproto.Running, Time: since}}
	for _, n := range c.nodes() {
		all = append(all, n.entry())
	}
	k.tell(&neoproto.Nodes{Time: c.now(), Nodes: all})
	table := c.table
	k.tell(&table)
}

// entry is what a master tells of the node. c.mu must be held.
func (n *Node) entry() neoproto.Node {
	e := neoproto.Node{Type: n.kind, Address: n.Addr, ID: n.ID, State: neoproto.Down}
	if n.up {
		e.State = neoproto.Running
	}
	switch {
	case n.kind == neoproto.StorageNode:
		e.Time = float64(n.ID)
	case n != n.c.primary:
		e.ID, e.State = 0, neoproto.Down
	}
	return e
}

// inform has the storages know which clients there are. They end connections of others.
func (c *Cluster) inform() {
	now := c.now()
	for _, n := range c.Storages {
		if n.deaf {
			continue
		}
		n.news = now
		clear(n.known)
		for k, since := range c.clients {
			n.known[k.client] = since
		}
		for k := range n.conns {
			if _, ok := n.known[k.client]; !ok && k.client != 0 {
				k.end()
			}
		}
	}
	c.retry()
}

// broadcast tells all clients. c.mu must be held.
func (c *Cluster) broadcast(m neoproto.Message) {
	for k := range c.clients {
		k.tell(m)
	}
}

// Elect makes a master the primary one, nil: none. The former one sends its clients away.
func (c *Cluster) Elect(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.clients {
		k.end()
	}
	c.primary = n
}

// SetState sets the state of the cluster. In some it takes no clients; those that it has
// are sent away then, as of a cluster that is not operational any more.
func (c *Cluster) SetState(state neoproto.ClusterState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setState(state)
}

func (c *Cluster) setState(state neoproto.ClusterState) {
	c.state = state
	if state == neoproto.RunningCluster || state == neoproto.BackingUp {
		c.broadcast(&neoproto.ClusterNews{State: state})
		return
	}
	c.broadcast(&neoproto.Stop{})
	for k := range c.clients {
		k.abort()
	}
}

// Mute has the cluster keep commits to itself, as a backup cluster does.
func (c *Cluster) Mute(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = yes
}

// SetLast has the master say what its last transaction is, whatever there is.
func (c *Cluster) SetLast(tid zodb.Tid) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = tid
}

// Forget has a storage know no client any more, nor hear of any, until Hear: it refuses
// them all. If it is late, it takes them for those that it has not heard of yet, and they
// wait.
func (n *Node) Forget(late bool) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.deaf = true
	clear(n.known)
	n.cut()
	if late {
		n.news = 0
	}
}

// Hear ends Forget.
func (n *Node) Hear() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.deaf = false
	n.c.inform()
}
