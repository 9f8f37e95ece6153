package btree

import (
	"cmp"
	"fmt"
)

// checker walks a tree that is being edited.
type checker[K cmp.Ordered] struct {
	e       *editor[K]
	buckets []*node[K] // from left to right
	depth   int        // of the leaves, once there is one
}

// node checks everything below n, whose keys must be at least lo and less than hi,
// of which nil does not bound them.
func (c *checker[K]) node(n *node[K], lo, hi *K, depth int) error {
	if depth >= MaxDepth {
		return c.e.tooDeep(n)
	}
	if err := c.e.load(n); err != nil {
		return err
	}
	for i, key := range n.keys {
		if lo != nil && key < *lo || hi != nil && key >= *hi || i > 0 && key <= n.keys[i-1] {
			return fmt.Errorf("node %s: key %v at #%d of %v is out of place", n.oid, key, i, n.keys)
		}
	}
	if n.tree {
		return c.tree(n, lo, hi, depth)
	}
	if len(n.keys) == 0 || len(n.keys) > c.e.keys.maxBucket || len(n.vals) != len(n.keys) {
		return fmt.Errorf("bucket %s: %d keys, %d values", n.oid, len(n.keys), len(n.vals))
	}
	if len(c.buckets) == 0 {
		c.depth = depth
	}
	if c.depth != depth {
		return fmt.Errorf("bucket %s: depth %d; others have %d", n.oid, depth, c.depth)
	}
	c.buckets = append(c.buckets, n)
	return nil
}

func (c *checker[K]) tree(n *node[K], lo, hi *K, depth int) error {
	limit := c.e.keys.maxTree
	if depth == 0 {
		limit = 2*c.e.keys.maxTree - 1
		if len(n.kids) == 0 && n.first == nil && len(n.keys) == 0 {
			return nil
		}
	}
	if len(n.kids) == 0 || len(n.kids) > limit || len(n.keys) != len(n.kids)-1 {
		return fmt.Errorf("tree node %s: %d children, %d separators", n.oid, len(n.kids), len(n.keys))
	}
	from := len(c.buckets)
	for i, kid := range n.kids {
		clo, chi := lo, hi
		if i > 0 {
			clo = &n.keys[i-1]
		}
		if i < len(n.keys) {
			chi = &n.keys[i]
		}
		if err := c.node(kid, clo, chi, depth+1); err != nil {
			return err
		}
	}
	if n.first != c.buckets[from] {
		return fmt.Errorf("tree node %s: its first bucket is not the leftmost one", n.oid)
	}
	return nil
}

// links checks the chain of buckets.
func (c *checker[K]) links() error {
	for i, b := range c.buckets {
		var next *node[K]
		if i+1 < len(c.buckets) {
			next = c.buckets[i+1]
		}
		if b.next != next {
			return fmt.Errorf("bucket %s, #%d of %d: its link to the next one is wrong", b.oid, i, len(c.buckets))
		}
	}
	return nil
}

// Shape describes the nodes of the tree: separators in brackets, keys of
// buckets in parentheses. Two trees of one shape route all keys alike.
func (e *editor[K]) Shape() (shape string, err error) {
	b, err := e.appendShape(nil, e.root, 0)
	return string(b), err
}

func (e *editor[K]) appendShape(b []byte, n *node[K], depth int) ([]byte, error) {
	if depth >= MaxDepth {
		return b, e.tooDeep(n)
	}
	if err := e.load(n); err != nil {
		return b, err
	}
	if !n.tree {
		if n.oid == 0 {
			b = append(b, "inline"...)
		}
		return fmt.Appendf(b, "(%v)", n.keys), nil
	}
	b = fmt.Appendf(b, "%v{", n.keys)
	for _, kid := range n.kids {
		var err error
		if b, err = e.appendShape(b, kid, depth+1); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}
