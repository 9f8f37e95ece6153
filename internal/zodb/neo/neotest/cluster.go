package neotest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
)

// Options say how a cluster is made. A number that is 0 becomes 1, but for Replicas.
type Options struct {
	Name       string // "": test
	Partitions int
	Replicas   int // copies beside the first one
	Storages   int
	Masters    int
	TLS        *Authority // who vouches for nodes and clients; nil: nothing is encrypted
}

// Cluster is a fake of a cluster. Its methods may be called from any goroutine.
type Cluster struct {
	Masters  []*Node
	Storages []*Node

	opt     Options
	began   time.Time
	running sync.WaitGroup

	mu         sync.Mutex
	db         database
	last       zodb.Tid // that the master tells
	state      neoproto.ClusterState
	primary    *Node // nil: there is none
	table      neoproto.Table
	clock      float64           // the last time that was told
	clients    map[*conn]float64 // of the primary master, with when it has accepted them
	lastClient neoproto.NodeID
	waiting    []request // that storages hold back
	mute       bool      // commits are not told
	delay      func() time.Duration
	complaints []string
}

// request is a packet of a client.
type request struct {
	from   *conn
	packet neoproto.Packet
}

// New starts a cluster, whose first master is the primary one. It panics if the operating
// system refuses something.
func New(opt Options) *Cluster {
	opt.Name = cmp.Or(opt.Name, "test")
	opt.Partitions, opt.Storages, opt.Masters = max(opt.Partitions, 1), max(opt.Storages, 1), max(opt.Masters, 1)
	c := &Cluster{
		opt: opt, began: time.Now(), db: newDatabase(), state: neoproto.RunningCluster,
		clients: make(map[*conn]float64), lastClient: -0x20000000,
	}
	// An address that nobody else has: no connection of this host to another port
	// begins there, so that a node can come back to its port.
	host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	for i := range opt.Masters {
		c.Masters = append(c.Masters, c.newNode(neoproto.Master, neoproto.NodeID(-0x10000000+1+i), host))
	}
	for i := range opt.Storages {
		c.Storages = append(c.Storages, c.newNode(neoproto.StorageNode, neoproto.NodeID(1+i), host))
	}
	c.primary = c.Masters[0]
	c.table = firstTable(opt)
	for _, n := range c.nodes() {
		n.Start()
	}
	return c
}

// firstTable spreads the cells of the partitions over the storages.
func firstTable(opt Options) neoproto.Table {
	table := neoproto.Table{ID: 1, Replicas: uint64(opt.Replicas)}
	for p := range opt.Partitions {
		var row []neoproto.Cell
		for r := range min(1+opt.Replicas, opt.Storages) {
			row = append(row, neoproto.Cell{Node: neoproto.NodeID(1 + (p+r)%opt.Storages), State: neoproto.UpToDate})
		}
		table.Rows = append(table.Rows, row)
	}
	return table
}

// nodes returns all nodes, masters first.
func (c *Cluster) nodes() []*Node { return append(append([]*Node{}, c.Masters...), c.Storages...) }

// URL names the database as a user does.
func (c *Cluster) URL() string {
	var masters []string
	for _, m := range c.Masters {
		masters = append(masters, m.Addr)
	}
	place := c.opt.Name + "@" + strings.Join(masters, ",")
	if c.opt.TLS == nil {
		return "neo://" + place
	}
	return "neos://" + place + "?" + c.opt.TLS.query()
}

// Close ends all nodes, and everything of this package in the process.
func (c *Cluster) Close() {
	for _, n := range c.nodes() {
		n.Vanish()
	}
	c.running.Wait()
}

// Complaints returns what clients have done that a real cluster would have suffered from.
func (c *Cluster) Complaints() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.complaints...)
}

// complain notes a complaint. c.mu must be held.
func (c *Cluster) complain(format string, args ...any) {
	c.complaints = append(c.complaints, fmt.Sprintf(format, args...))
}

// Delay has each answer, and each step of a commit, take as long as delay says. Answers of
// storages overtake each other then. nil: no time.
func (c *Cluster) Delay(delay func() time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = delay
}

// pause returns how long something is to take. c.mu must be held.
func (c *Cluster) pause() time.Duration {
	if c.delay == nil {
		return 0
	}
	return c.delay()
}

// now returns the time, which grows. c.mu must be held.
func (c *Cluster) now() float64 {
	c.clock = max(time.Since(c.began).Seconds()+1, c.clock+1e-6)
	return c.clock
}

// retry has the storages look at what they hold back again. c.mu must be held.
func (c *Cluster) retry() {
	waiting := c.waiting
	c.waiting = nil
	for _, r := range waiting {
		r.from.handle(r.packet)
	}
}

// Waiting returns how many requests are held back.
func (c *Cluster) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}
