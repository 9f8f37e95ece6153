package neo

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
)

// cluster is what a master tells of the nodes and of who has which partition. All of it
// is guarded by mu.
type cluster struct {
	mu      sync.Mutex
	self    neoproto.NodeID // this client; 0: the master has not told yet
	since   float64         // when the master has accepted this client; storages want to hear it
	told    float64         // time of the last news of nodes
	primary neoproto.NodeID // master that tells
	masters []neoproto.Node
	nodes   map[neoproto.NodeID]*storageNode // that are there
	table   *neoproto.Table
	changed chan struct{} // closed at the next news
}

// storageNode is a storage of the cluster.
type storageNode struct {
	id    neoproto.NodeID
	addr  string
	state neoproto.NodeState // guarded by cluster.mu

	peer     *peer         // guarded by cluster.mu; nil: there was none yet
	dialing  chan struct{} // guarded by cluster.mu; closed when the attempt to connect has ended, nil: there is none
	failure  error         // guarded by cluster.mu; of the last attempt, nil: it went well
	failedAt time.Time     // guarded by cluster.mu; when it failed last, whatever it was
	answers  uint64        // guarded by cluster.mu
}

func newCluster() *cluster {
	return &cluster{nodes: make(map[neoproto.NodeID]*storageNode), changed: make(chan struct{})}
}

// news wakes all who wait for a change. c.mu must be held.
func (c *cluster) news() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// takeNodes takes news of nodes, the first of which are complete. It returns the
// connections to nodes that are not to be used any more.
func (c *cluster) takeNodes(m *neoproto.Nodes) (gone []*peer, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.Time <= c.told {
		return nil, &neoproto.ProtocolError{Msg: fmt.Sprintf("news of nodes of %f after those of %f", m.Time, c.told)}
	}
	c.told = m.Time
	for _, n := range m.Nodes {
		switch {
		case n.Type == neoproto.Client && (c.self == 0 || c.self == n.ID): // of clients, each is told of itself only
			c.self, c.since = n.ID, n.Time
		case n.Type == neoproto.Master:
			c.takeMaster(n)
		case n.Type == neoproto.StorageNode:
			if p := c.takeStorage(n); p != nil {
				gone = append(gone, p)
			}
		}
	}
	c.news()
	return gone, nil
}

// takeMaster takes news of a master. c.mu must be held.
func (c *cluster) takeMaster(n neoproto.Node) {
	c.masters = slices.DeleteFunc(c.masters, func(have neoproto.Node) bool { return have.Address == n.Address })
	if n.Address != "" && n.State != neoproto.Unknown {
		c.masters = append(c.masters, n)
	}
}

// takeStorage takes news of a storage. It returns the connection to it if that is not to
// be used any more. c.mu must be held.
func (c *cluster) takeStorage(n neoproto.Node) (gone *peer) {
	have := c.nodes[n.ID]
	if have != nil && (n.State != neoproto.Running || have.addr != n.Address) {
		gone = have.peer
		have.peer, have.state = nil, n.State
	}
	switch {
	case n.State == neoproto.Unknown:
		delete(c.nodes, n.ID)
	case have == nil || have.addr != n.Address:
		c.nodes[n.ID] = &storageNode{id: n.ID, addr: n.Address, state: n.State}
	default:
		have.state = n.State
		have.failure = nil
	}
	return gone
}

func (c *cluster) takeTable(m *neoproto.Table) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table != nil && len(c.table.Rows) != len(m.Rows) || len(m.Rows) == 0 {
		return &neoproto.ProtocolError{Msg: fmt.Sprintf("a table of %d partitions", len(m.Rows))}
	}
	c.table = m
	c.news()
	return nil
}

func (c *cluster) takeChanges(m *neoproto.TableChanges) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table == nil || m.ID <= c.table.ID {
		return &neoproto.ProtocolError{Msg: fmt.Sprintf("change %d of a table of partitions that it does not follow", m.ID)}
	}
	c.table.ID, c.table.Replicas = m.ID, m.Replicas
	for _, change := range m.Cells {
		if change.Partition >= len(c.table.Rows) {
			return &neoproto.ProtocolError{Msg: fmt.Sprintf("a change of partition %d of %d", change.Partition, len(c.table.Rows))}
		}
		row := &c.table.Rows[change.Partition]
		at := slices.IndexFunc(*row, func(cell neoproto.Cell) bool { return cell.Node == change.Node })
		switch {
		case change.State == neoproto.Discarded && at >= 0:
			*row = slices.Delete(*row, at, at+1)
		case change.State == neoproto.Discarded:
		case at >= 0:
			(*row)[at] = change.Cell
		default:
			*row = append(*row, change.Cell)
		}
	}
	c.news()
	return nil
}

// toldOf returns what the master calls this client, 0 as long as it has not told all
// that is needed.
func (c *cluster) toldOf() neoproto.NodeID {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table == nil || c.since == 0 {
		return 0
	}
	return c.self
}

// partitions returns how many partitions there are.
func (c *cluster) partitions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.table.Rows)
}

// tableID returns a number that changes with the table of partitions.
func (c *cluster) tableID() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table.ID
}

// readable returns the nodes that a partition can be read from, best first: those that
// have not failed lately, in random order, then the one that failed longest ago. changed
// is closed when there is news.
func (c *cluster) readable(partition int) (nodes []*storageNode, changed <-chan struct{}) {
	type candidate struct {
		node   *storageNode
		failed time.Time
	}
	var all []candidate
	c.mu.Lock()
	for _, cell := range c.table.Rows[partition] {
		n := c.nodes[cell.Node]
		if n == nil || n.state != neoproto.Running || !cell.State.Readable() {
			continue
		}
		failed := n.failedAt
		if time.Since(failed) > failureMemory {
			failed = time.Time{}
		}
		all = append(all, candidate{n, failed})
	}
	changed = c.changed
	c.mu.Unlock()
	rand.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	slices.SortStableFunc(all, func(a, b candidate) int { return a.failed.Compare(b.failed) })
	for _, a := range all {
		nodes = append(nodes, a.node)
	}
	return nodes, changed
}

// failureMemory is for how long a node that failed is only the second choice.
const failureMemory = 10 * time.Minute

// failed notes that a node did not answer as it should.
func (c *cluster) failed(n *storageNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.failedAt = time.Now()
}

// answered notes that a node has answered.
func (c *cluster) answered(n *storageNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.failedAt = time.Time{}
	n.answers++
}
