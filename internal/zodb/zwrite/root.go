package zwrite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/pickle"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// RootOid is the oid of the root object: a PersistentMapping from names to
// objects of the application.
const RootOid zodb.Oid = 0

// Keys of the items in the state of a PersistentMapping, now and in old
// databases.
const (
	rootKey    = "data"
	oldRootKey = "_container"
)

// OpenRoot returns the root object as a folder, which is a new one if there is none.
// Errors are those of OpenFolder.
func OpenRoot(txn btree.Txn) (*Folder, error) {
	root, err := OpenFolder(txn, RootOid)
	if storage.IsNoData(err) {
		return newFolder(txn, RootOid), nil
	}
	if err != nil {
		return nil, fmt.Errorf("root object: %w", err)
	}
	return root, nil
}

// SetName makes the root object refer to an object by name, which is text in
// UTF-8. All other names in the root object stay what they were. The root object is
// made if there is none. Errors are those of OpenFolder.
func SetName(txn btree.Txn, name string, ref btree.Ref) error {
	root, err := OpenRoot(txn)
	if err != nil {
		return err
	}
	if err := root.Set(name, ref); err != nil {
		return fmt.Errorf("root object: %w", err)
	}
	root.Flush()
	return nil
}

// spliceRoot adds an item to the root object without decoding the others, which
// may be anything. The record ends with the opcodes that put the dict of items
// into the state and end it: before that the dict is on top of the stack, and
// further items can be set.
func spliceRoot(data []byte, name string, ref btree.Ref) ([]byte, error) {
	before, err := decodeRoot(data)
	if err != nil {
		return nil, err
	}
	body, ok := bytes.CutSuffix(data, []byte("s."))
	if !ok {
		return nil, fmt.Errorf("record does not end as expected: %q", data[max(0, len(data)-2):])
	}
	out := appendName(bytes.Clone(body), name)
	// Opcodes of protocol 1, which every record may have: the oid as str, and a
	// tuple with a mark. Protocol 3 has bytes for oids.
	oidOp := byte(opShortString)
	if bytes.HasPrefix(data, []byte{0x80, 3}) {
		oidOp = 'C'
	}
	out = binary.BigEndian.AppendUint64(append(out, '(', oidOp, 8), uint64(ref.Oid))
	out = append(out, "c"+ref.Class.Module+"\n"+ref.Class.Name+"\n"...)
	out = append(out, "tQss."...)
	after, err := decodeRoot(out)
	if err != nil {
		return nil, err
	}
	before[name] = ref
	if len(after) != len(before) || after[name] != ref {
		return nil, fmt.Errorf("its form is not understood")
	}
	return out, nil
}

// opShortString begins a str of Python 2 of up to 255 bytes.
const opShortString = 'U'

// appendName appends text as a key of the mapping that root ends in. Where the keys of
// Python itself are str of Python 2, names are, as far as the Pythons agree on that.
func appendName(root []byte, name string) []byte {
	ascii := !strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf })
	for _, key := range []string{rootKey, oldRootKey} {
		if text := append([]byte{opShortString, byte(len(key))}, key...); ascii && len(name) <= math.MaxUint8 && bytes.Contains(root, text) {
			return append(append(root, opShortString, byte(len(name))), name...)
		}
	}
	return append(binary.LittleEndian.AppendUint32(append(root, 'X'), uint32(len(name))), name...)
}

// decodeRoot decodes the record of a PersistentMapping.
func decodeRoot(data []byte) (map[string]btree.Ref, error) {
	class, state, err := pickle.Record(data)
	if err != nil {
		return nil, err
	}
	if class.Name != "PersistentMapping" {
		return nil, fmt.Errorf("expect a PersistentMapping; got %.200s", class)
	}
	outer, ok := state.(*pickle.Dict)
	if !ok || len(outer.Items) != 1 {
		return nil, fmt.Errorf("expect a dict with one item; got %T", state)
	}
	items, ok := outer.Get(rootKey)
	if !ok {
		items, _ = outer.Get(oldRootKey)
	}
	if dict, ok := items.(*pickle.Dict); ok {
		return refsOf(dict), nil
	}
	return nil, fmt.Errorf("expect a dict under the key %q", rootKey)
}

// refsOf finds the items that are references to objects of known class.
func refsOf(dict *pickle.Dict) map[string]btree.Ref {
	refs := make(map[string]btree.Ref)
	for _, item := range dict.Items {
		name, ok := pickle.Text(item.Key)
		if !ok {
			continue
		}
		ref, ok := item.Value.(pickle.Ref)
		if ok && ref.Class != (record.Class{}) {
			refs[name] = btree.Ref{Oid: ref.Oid, Class: ref.Class}
		} else {
			delete(refs, name) // the last item of a key counts
		}
	}
	return refs
}
