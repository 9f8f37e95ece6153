package btree

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
)

// ForeignError says that a tree cannot be written here, though it may be all right.
type ForeignError struct{ Msg string }

func (e *ForeignError) Error() string { return e.Msg }

// keyKind is what editors of different kinds of trees do not have in common.
type keyKind[K cmp.Ordered] struct {
	maxBucket, maxTree int
	class              func(tree bool) record.Class
	check              func(K) error // whether a tree can have the key
	decode             func(record.Class, record.Value) (decoded[K], error)
	put                putKey[K]
}

// putKey appends a key to a record.
type putKey[K any] = func(*record.Encoder, K)

// decoded is what is known of a node whose form was checked.
type decoded[K any] struct {
	tree bool
	keys []K // or separators
}

// integerKeys is for trees of family LO or IO.
func integerKeys(family Family) keyKind[int64] {
	return keyKind[int64]{
		maxBucket: MaxBucketLen,
		maxTree:   MaxTreeLen,
		class:     func(tree bool) record.Class { return nodeClass(family, tree) },
		check: func(key int64) error {
			if family == IO && key != int64(int32(key)) {
				return errors.New("key does not fit 32 bits")
			}
			return nil
		},
		decode: func(class record.Class, state record.Value) (decoded[int64], error) {
			n, err := decode(class, state)
			if err == nil && n.family != family {
				err = fmt.Errorf("expect a node of a %s; got one of a %s", family, n.family)
			}
			if err != nil {
				return decoded[int64]{}, err
			}
			return decoded[int64]{strings.TrimSuffix(class.Name, "Py") == family.String(), n.keys}, nil
		},
		put: (*record.Encoder).Int,
	}
}

const moduleOOBTree = "BTrees.OOBTree"

// ClassNames is the class of the trees that Names edits.
var ClassNames = record.Class{Module: moduleOOBTree, Name: "OOBTree"}

// textKeys is for OOBTree.
var textKeys = keyKind[string]{
	maxBucket: maxNamesBucket,
	maxTree:   maxNamesTree,
	class: func(tree bool) record.Class {
		if tree {
			return ClassNames
		}
		return record.Class{Module: moduleOOBTree, Name: "OOBucket"}
	},
	check: func(key string) error {
		if !utf8.ValidString(key) {
			return errors.New("key is no text in UTF-8")
		}
		return nil
	},
	decode: decodeNames,
	put:    (*record.Encoder).Text,
}

// decodeNames checks the state of a node of an OOBTree, whose forms are those of
// other trees.
func decodeNames(class record.Class, state record.Value) (n decoded[string], err error) {
	name := strings.TrimSuffix(class.Name, "Py")
	n.tree = name == "OOBTree"
	if class.Module != moduleOOBTree || !n.tree && name != "OOBucket" {
		return n, fmt.Errorf("expect a node of an OOBTree; got %.200s", class)
	}
	switch {
	case n.tree && state.Kind() == pickle.KindNone:
		return n, nil
	case n.tree && state.Len() == 2:
		children := state.At(0)
		if state.At(1).Kind() != pickle.KindRef || children.Len()%2 == 0 {
			return n, fmt.Errorf("state of a tree: got %s", state)
		}
		for i := range children.Len() {
			if i%2 == 0 && children.At(i).Kind() != pickle.KindRef {
				return n, fmt.Errorf("child #%d of a tree: expect a reference; got %s", i/2, children.At(i))
			}
		}
		n.keys, err = textsOf(children, 1)
		return n, err
	case n.tree && state.Len() == 1 && state.At(0).Len() == 1:
		state = state.At(0).At(0)
	case n.tree:
		return n, fmt.Errorf("state of a tree: got %s", state)
	}
	items := state.At(0)
	if state.Len() < 1 || state.Len() > 2 || items.Kind() != pickle.KindTuple || items.Len()%2 != 0 ||
		state.Len() == 2 && state.At(1).Kind() != pickle.KindRef {
		return n, fmt.Errorf("state of a bucket: got %s", state)
	}
	for i := range items.Len() / 2 {
		if v := items.At(2*i + 1); v.RefClass() == (record.Class{}) {
			return n, &ForeignError{fmt.Sprintf("has a value that is no object of its own: %s", v)}
		}
	}
	n.keys, err = textsOf(items, 0)
	return n, err
}

// textsOf returns every second item of a tuple, from the one at first on.
func textsOf(items record.Value, first int) (keys []string, err error) {
	for i := first; i < items.Len(); i += 2 {
		text, ok := items.At(i).Text()
		if !ok || !utf8.Valid(text) {
			return nil, &ForeignError{fmt.Sprintf("has a key that is no text: %s", items.At(i))}
		}
		key := string(text)
		if n := len(keys); n > 0 && key <= keys[n-1] {
			return nil, fmt.Errorf("%q after %q: keys do not ascend", key, keys[n-1])
		}
		keys = append(keys, key)
	}
	return keys, nil
}
