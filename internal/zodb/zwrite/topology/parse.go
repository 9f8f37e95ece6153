// Package topology stores block tables of any shape, given as text: trees that
// BTrees would make only after a long history, or never, but that readers must
// understand.
//
// # Nouns
//
// A topology is a text like
//
//	T2,4/B1:a-B2:b,3:c-B4:d,5:e
//
// Layers are separated by "/", the nodes of a layer by "-". T is an inner node
// with its separators; one with n separators has the next n+1 nodes of the layer
// below as children. B is a bucket with its items: a key and the name of a value.
// "B:" is an empty bucket, "T" alone an empty tree, and "ø" a tree that does not
// exist. A Node is a parsed topology. A Writer stores such trees under one root,
// one after another.
//
// # Ownership
//
// Nodes may be shared and must not be modified once given to a Writer. A Writer
// is for one goroutine.
//
// # Caveats
//
// It is meant for tests, and checks only what cannot be stored. Keys are >= 0.
package topology

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Item is a key with the name of its value.
type Item struct {
	Key   int64
	Value string
}

// Node is a node of a tree.
type Node struct {
	Bucket   bool
	Items    []Item  // of a bucket
	Seps     []int64 // of an inner node
	Children []*Node // one more than Seps, or none for an empty tree
}

// None is the text for a tree that does not exist.
const None = "ø"

// Parse parses a topology. The result is nil for None.
func Parse(text string) (root *Node, err error) {
	if text == None {
		return nil, nil
	}
	var parents []*Node
	for i, layer := range strings.Split(text, "/") {
		var nodes []*Node
		for _, part := range strings.Split(layer, "-") {
			n, err := parseNode(part)
			if err != nil {
				return nil, fmt.Errorf("topology %q: %w", text, err)
			}
			nodes = append(nodes, n)
		}
		if i == 0 {
			if len(nodes) != 1 || nodes[0].Bucket {
				return nil, fmt.Errorf("topology %q: it must begin with one T", text)
			}
			root = nodes[0]
		} else if err := link(parents, nodes); err != nil {
			return nil, fmt.Errorf("topology %q: layer %d: %w", text, i, err)
		}
		parents = nil
		for _, n := range nodes {
			if !n.Bucket {
				parents = append(parents, n)
			}
		}
	}
	if len(parents) > 0 && (parents[0] != root || len(root.Seps) > 0) {
		return nil, fmt.Errorf("topology %q: the last layer has nodes without children", text)
	}
	return root, nil
}

// link makes nodes the children of parents.
func link(parents, nodes []*Node) error {
	for _, parent := range parents {
		n := len(parent.Seps) + 1
		if n > len(nodes) {
			return fmt.Errorf("there are too few nodes")
		}
		parent.Children = nodes[:n:n]
		nodes = nodes[n:]
		for _, child := range parent.Children {
			if child.Bucket != parent.Children[0].Bucket {
				return fmt.Errorf("children of one node must be of one kind")
			}
		}
	}
	if len(nodes) > 0 {
		return fmt.Errorf("%d nodes have no parent", len(nodes))
	}
	return nil
}

func parseNode(part string) (*Node, error) {
	switch {
	case part == "B:":
		return &Node{Bucket: true}, nil
	case strings.HasPrefix(part, "B"):
		n := &Node{Bucket: true}
		for _, item := range strings.Split(part[1:], ",") {
			key, value, ok := strings.Cut(item, ":")
			k, err := parseKey(key)
			if !ok || value == "" || err != nil || len(n.Items) > 0 && k <= n.Items[len(n.Items)-1].Key {
				return nil, fmt.Errorf("bucket %q: bad item %q", part, item)
			}
			n.Items = append(n.Items, Item{k, value})
		}
		return n, nil
	case part == "T":
		return &Node{}, nil
	case strings.HasPrefix(part, "T"):
		n := &Node{}
		for _, key := range strings.Split(part[1:], ",") {
			k, err := parseKey(key)
			if err != nil || len(n.Seps) > 0 && k <= n.Seps[len(n.Seps)-1] {
				return nil, fmt.Errorf("node %q: bad separator %q", part, key)
			}
			n.Seps = append(n.Seps, k)
		}
		return n, nil
	}
	return nil, fmt.Errorf("neither T nor B: %q", part)
}

func parseKey(text string) (int64, error) {
	key, err := strconv.ParseUint(text, 10, 63)
	return int64(key), err
}

// String returns the text that Parse makes n of.
func (n *Node) String() string {
	if n == nil {
		return None
	}
	var layers []string
	for layer := []*Node{n}; len(layer) > 0; {
		var parts []string
		var below []*Node
		for _, n := range layer {
			parts = append(parts, n.part())
			below = append(below, n.Children...)
		}
		layers = append(layers, strings.Join(parts, "-"))
		layer = below
	}
	return strings.Join(layers, "/")
}

func (n *Node) part() string {
	var words []string
	if n.Bucket {
		for _, item := range n.Items {
			words = append(words, fmt.Sprintf("%d:%s", item.Key, item.Value))
		}
		if len(words) == 0 {
			return "B:"
		}
		return "B" + strings.Join(words, ",")
	}
	for _, sep := range n.Seps {
		words = append(words, fmt.Sprint(sep))
	}
	return "T" + strings.Join(words, ",")
}

// Lookup returns the name of the value that readers find under key, "" if there
// is none.
func (n *Node) Lookup(key int64) string {
	for n != nil && !n.Bucket {
		if len(n.Children) == 0 {
			return ""
		}
		i, found := slices.BinarySearch(n.Seps, key)
		if found {
			i++
		}
		n = n.Children[i]
	}
	if n != nil {
		for _, item := range n.Items {
			if item.Key == key {
				return item.Value
			}
		}
	}
	return ""
}
