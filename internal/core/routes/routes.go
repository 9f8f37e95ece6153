package routes

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/lock"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
)

// Routes remembers at which transactions which nodes began to route which keys
// differently.
type Routes struct {
	source btree.Source
	budget int // of size

	mu    lock.Mutex // map operations only
	nodes map[zodb.Oid]*routing
	size  int // sum over nodes: how many numbers they keep, or as much memory
}

// routing is what is known of one node.
type routing struct {
	known []period             // disjoint, ascending
	keys  map[int64][]zodb.Tid // of leaves: key -> descending tids that changed it
	wide  []wideChange         // of all other changes; descending
	size  int
}

// period says that all changes in (from, to] are known.
type period struct{ from, to zodb.Tid }

// wideChange is a transaction that may have changed all keys of an interval.
type wideChange struct {
	tid  zodb.Tid
	keys btree.Keys
}

// New returns a Routes of the nodes of source, which keeps up to budget numbers of 8 bytes.
func New(source btree.Source, budget int) *Routes {
	r := &Routes{source: source, budget: budget, nodes: make(map[zodb.Oid]*routing)}
	r.mu.Init(nil, 0, r.check)
	return r
}

// check panics if r keeps more than it may, or than it believes.
func (r *Routes) check() {
	size := 0
	for _, n := range r.nodes {
		size += n.size
	}
	if size != r.size || size > r.budget {
		panic(fmt.Sprintf("BUG: routes: there are %d numbers; said %d, budget %d", size, r.size, r.budget))
	}
}

// Forget lets everything go.
func (r *Routes) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.nodes)
	r.size = 0
}

// cursor is how far back the versions of a node have been looked at.
type cursor struct {
	oid   zodb.Oid
	tid   zodb.Tid // no change in (tid, view that was asked for]
	found bool     // the change at tid may be one of the key
}

// Newest returns the newest transaction in (stop, at] at which a node of path,
// which is the way to key as of view at, may have begun to route key to
// something else, or 0. The nodes are looked at in step, so that none of them
// is followed further back than needed.
func (r *Routes) Newest(ctx context.Context, path []btree.Step, key int64, at, stop zodb.Tid) (zodb.Tid, error) {
	cursors := make([]cursor, len(path))
	for i, step := range path {
		cursors[i] = cursor{oid: step.Oid, tid: at}
		if i == 0 { // the ZBigFile, which is not a node
			cursors[i].tid, cursors[i].found = step.Serial, true
		}
	}
	for {
		last := slices.MaxFunc(cursors, func(a, b cursor) int { return cmp.Compare(a.tid, b.tid) })
		if last.tid <= stop {
			return 0, nil
		}
		for i := range cursors {
			c := &cursors[i]
			switch {
			case c.tid < last.tid:
			case c.found:
				return c.tid, nil
			default:
				if err := r.back(ctx, c, key, stop); err != nil {
					return 0, err
				}
			}
		}
	}
}

// back moves a cursor at least one transaction back, or finds that the one it
// is at changed the key. The cursor, and not what is known, tells where to
// go on: that may be dropped at any moment.
func (r *Routes) back(ctx context.Context, c *cursor, key int64, stop zodb.Tid) error {
	if tid, found := r.lookup(c.oid, c.tid, key); found || tid < c.tid {
		c.tid, c.found = tid, found
		return nil
	}
	b, serial, err := r.source.Node(ctx, zodb.Xid{At: c.tid, Oid: c.oid})
	if err != nil {
		return err
	}
	if serial <= stop {
		r.add(c.oid, period{serial, c.tid}, nil, nil)
		c.tid = serial
		return nil
	}
	a, _, err := r.source.Node(ctx, zodb.Xid{At: serial - 1, Oid: c.oid})
	if err != nil && !bigfile.IsDamage(err) {
		return err
	}
	// A node that was damaged and is not any more may have changed
	// everywhere.
	keys, wide := []int64(nil), []btree.Keys{allKeys}
	if err == nil {
		keys, wide = btree.Differences(a, b, allKeys)
	}
	r.add(c.oid, period{serial - 1, c.tid}, keys, wide)
	c.tid, c.found = serial-1, false
	if slices.Contains(keys, key) || slices.ContainsFunc(wide, func(k btree.Keys) bool { return k.Has(key) }) {
		c.tid, c.found = serial, true
	}
	return nil
}

// allKeys is all keys of a block table.
var allKeys = btree.Keys{Lo: math.MinInt64, Hi: math.MaxInt64}

// lookup returns the newest change of key up to at in node oid. If that is not
// known, it returns how far back it is known that there is none.
func (r *Routes) lookup(oid zodb.Oid, at zodb.Tid, key int64) (tid zodb.Tid, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[oid]
	if n == nil {
		return at, false
	}
	i, _ := slices.BinarySearchFunc(n.known, at, func(p period, at zodb.Tid) int { return cmp.Compare(p.to, at) })
	if i == len(n.known) || n.known[i].from >= at {
		return at, false
	}
	newest := n.known[i].from
	tids := n.keys[key]
	if j, _ := slices.BinarySearchFunc(tids, at, descending); j < len(tids) && tids[j] > newest {
		newest, found = tids[j], true
	}
	j, _ := slices.BinarySearchFunc(n.wide, at, func(c wideChange, at zodb.Tid) int { return cmp.Compare(at, c.tid) })
	for ; j < len(n.wide) && n.wide[j].tid > newest; j++ {
		if c := n.wide[j]; c.keys.Has(key) {
			return c.tid, true
		}
	}
	return newest, found
}

func descending(a, b zodb.Tid) int { return cmp.Compare(b, a) }

// add notes that only transaction p.from+1 changed node oid in p, and which keys
// and intervals. There may be none, and then it need not have changed it.
func (r *Routes) add(oid zodb.Oid, p period, keys []int64, wide []btree.Keys) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[oid]
	if n == nil {
		n = &routing{keys: make(map[int64][]zodb.Tid), size: 16}
		r.nodes[oid] = n
		r.size += n.size
	}
	r.size -= n.size
	n.add(p, keys, wide)
	r.size += n.size
	for oid, n := range r.nodes { // any of them
		if r.size <= r.budget {
			break
		}
		r.size -= n.size
		delete(r.nodes, oid)
	}
}

func (n *routing) add(p period, keys []int64, wide []btree.Keys) {
	tid := p.from + 1
	for _, key := range keys {
		tids := n.keys[key]
		if i, there := slices.BinarySearchFunc(tids, tid, descending); !there {
			n.keys[key] = slices.Insert(tids, i, tid)
			n.size++
			if len(tids) == 0 {
				n.size += 8 // place in the map
			}
		}
	}
	i, there := slices.BinarySearchFunc(n.wide, tid, func(c wideChange, tid zodb.Tid) int { return cmp.Compare(tid, c.tid) })
	for _, keys := range wide {
		if !there {
			n.wide = slices.Insert(n.wide, i, wideChange{tid, keys})
			n.size += 3
		}
	}
	n.learn(p)
}

// learn adds p to the known periods, and puts those together that it joins.
func (n *routing) learn(p period) {
	i, _ := slices.BinarySearchFunc(n.known, p.from, func(k period, from zodb.Tid) int { return cmp.Compare(k.to, from) })
	j := i
	for ; j < len(n.known) && n.known[j].from <= p.to; j++ {
		p.from, p.to = min(p.from, n.known[j].from), max(p.to, n.known[j].to)
	}
	n.known = slices.Replace(n.known, i, j, p)
	n.size += 2 * (1 - (j - i))
}
