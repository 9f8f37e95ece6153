package btree

import (
	"fmt"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
)

// Decode decodes the record of a tree or bucket of LOBTree or IOBTree. The
// layout of the state is that of __getstate__ in BTrees/BTreeTemplate.c and
// BucketTemplate.c. Errors do not name the object; the caller does.
func Decode(data []byte) (*Node, error) {
	var n *Node
	err := record.Decode(data, func(class record.Class, state record.Value) (err error) {
		n, err = decode(class, state)
		return err
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

func decode(class record.Class, state record.Value) (*Node, error) {
	n := &Node{}
	tree := false
	switch name := strings.TrimSuffix(class.Name, "Py"); {
	case class.Module == record.ModuleLOBTree && (name == "LOBTree" || name == "LOBucket"):
		n.family, tree = LO, name == "LOBTree"
	case class.Module == record.ModuleIOBTree && (name == "IOBTree" || name == "IOBucket"):
		n.family, tree = IO, name == "IOBTree"
	default:
		return nil, fmt.Errorf("expect a LOBTree or IOBTree; got %.200s", class)
	}
	if tree {
		return n, n.setTree(state)
	}
	return n, n.setBucket(state)
}

// setTree takes the state of a tree: None, ((bucket state,),), or
// ((child, key, child, ...), first bucket).
func (n *Node) setTree(state record.Value) error {
	if state.Kind() == pickle.KindNone {
		return nil
	}
	children := state.At(0)
	switch {
	case state.Len() == 1 && children.Len() == 1:
		return n.setBucket(children.At(0))
	case state.Len() != 2 || children.Kind() != pickle.KindTuple:
		return fmt.Errorf("state of a tree: expect None, ((bucket,),) or ((children), first); got %s", state)
	case state.At(1).Kind() != pickle.KindRef:
		return fmt.Errorf("first bucket of a tree: expect a reference; got %s", state.At(1))
	case children.Len()%2 == 0:
		return fmt.Errorf("children of a tree: expect an odd number of items; got %d", children.Len())
	}
	n.inner = true
	n.keys = make([]int64, children.Len()/2)
	n.oids = make([]zodb.Oid, children.Len()/2+1)
	for i := range n.oids {
		if err := n.setOid(i, children.At(2*i)); err != nil {
			return err
		}
	}
	for i := range n.keys {
		if err := n.setKey(i, children.At(2*i+1)); err != nil {
			return err
		}
	}
	return nil
}

// setBucket takes the state of a bucket: ((key, value, ...),) or
// ((key, value, ...), next bucket).
func (n *Node) setBucket(state record.Value) error {
	items := state.At(0)
	if state.Len() < 1 || state.Len() > 2 || items.Kind() != pickle.KindTuple {
		return fmt.Errorf("state of a bucket: expect ((items),) or ((items), next); got %s", state)
	}
	if state.Len() == 2 && state.At(1).Kind() != pickle.KindRef {
		return fmt.Errorf("next bucket: expect a reference; got %s", state.At(1))
	}
	if items.Len()%2 != 0 {
		return fmt.Errorf("items of a bucket: expect keys and values; got %d items", items.Len())
	}
	n.keys = make([]int64, items.Len()/2)
	n.oids = make([]zodb.Oid, items.Len()/2)
	for i := range n.keys {
		if err := n.setKey(i, items.At(2*i)); err != nil {
			return err
		}
		if err := n.setOid(i, items.At(2*i+1)); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) setOid(i int, v record.Value) error {
	oid, ok := v.Ref()
	if !ok {
		return fmt.Errorf("item #%d: expect a reference; got %s", i, v)
	}
	n.oids[i] = oid
	return nil
}

// setKey sets key i, after all before it were set.
func (n *Node) setKey(i int, v record.Value) error {
	key, ok := v.Int()
	if !ok || n.family == IO && key != int64(int32(key)) {
		return fmt.Errorf("key #%d: expect an integer of %d bits; got %s", i, n.keyBits(), v)
	}
	if i > 0 && key <= n.keys[i-1] {
		return fmt.Errorf("key #%d: %d after %d: keys do not ascend", i, key, n.keys[i-1])
	}
	n.keys[i] = key
	return nil
}

func (n *Node) keyBits() int {
	if n.family == IO {
		return 32
	}
	return 64
}
