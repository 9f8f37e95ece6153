package btree

import (
	"fmt"
)

// checker walks a tree that is being edited.
type checker struct {
	e       *Editor
	buckets []*editNode // from left to right
	depth   int         // of the leaves, once there is one
}

// node checks everything below n, whose keys must be in [lo, hi].
func (c *checker) node(n *editNode, lo, hi int64, depth int) error {
	if depth >= MaxDepth {
		return c.e.tooDeep(n)
	}
	if err := c.e.load(n); err != nil {
		return err
	}
	for i, key := range n.keys {
		if key < lo || key > hi || i > 0 && key <= n.keys[i-1] {
			return fmt.Errorf("node %s: key %d at #%d of %v is not in [%d, %d]", n.oid, key, i, n.keys, lo, hi)
		}
	}
	if n.tree {
		return c.tree(n, lo, hi, depth)
	}
	if len(n.keys) == 0 || len(n.keys) > MaxBucketLen || len(n.vals) != len(n.keys) {
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

func (c *checker) tree(n *editNode, lo, hi int64, depth int) error {
	limit := MaxTreeLen
	if depth == 0 {
		limit = 2*MaxTreeLen - 1
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
			clo = n.keys[i-1]
		}
		if i < len(n.keys) {
			chi = n.keys[i] - 1
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
func (c *checker) links() error {
	for i, b := range c.buckets {
		var next *editNode
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
func (e *Editor) Shape() (shape string, err error) {
	b, err := e.appendShape(nil, e.root, 0)
	return string(b), err
}

func (e *Editor) appendShape(b []byte, n *editNode, depth int) ([]byte, error) {
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
		return fmt.Appendf(b, "(%d)", n.keys), nil
	}
	b = fmt.Appendf(b, "%d{", n.keys)
	for _, kid := range n.kids {
		var err error
		if b, err = e.appendShape(b, kid, depth+1); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}
