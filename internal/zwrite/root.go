package zwrite

import (
	"bytes"
	"encoding/binary"
	"fmt"

	ogorek "github.com/kisielk/og-rek"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/btree"
	"github.com/wcfs/wcfs/internal/record"
	"github.com/wcfs/wcfs/internal/storage"
)

// RootOid is the oid of the root object: a PersistentMapping from names to
// objects of the application.
const RootOid zodb.Oid = 0

// rootKey is what the state of a PersistentMapping keeps its items under.
const rootKey = "data"

// Names returns which objects the root object refers to by name. Values that
// are not references, and keys that are not text, are left out. It is empty if
// there is no root object yet.
//
// Errors are those of txn.Load, and *storage.CorruptError if the root object is
// not understood.
func Names(txn btree.Txn) (map[string]btree.Ref, error) {
	data, serial, err := txn.Load(RootOid)
	if storage.IsNoData(err) {
		return map[string]btree.Ref{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("root object: %w", err)
	}
	names, err := decodeRoot(data)
	if err != nil {
		return nil, &storage.CorruptError{Oid: RootOid, Tid: serial, Err: err}
	}
	return names, nil
}

// SetName makes the root object refer to an object by name, which is text in
// UTF-8. What else is in the root object stays byte for byte what it was. The
// root object is made if there is none. Errors are like those of Names.
func SetName(txn btree.Txn, name string, ref btree.Ref) error {
	data, serial, err := txn.Load(RootOid)
	if storage.IsNoData(err) {
		txn.Store(RootOid, newRoot(name, ref))
		return nil
	}
	if err != nil {
		return fmt.Errorf("root object: %w", err)
	}
	data, err = spliceRoot(data, name, ref)
	if err != nil {
		return &storage.CorruptError{Oid: RootOid, Tid: serial, Err: err}
	}
	txn.Store(RootOid, data)
	return nil
}

func newRoot(name string, ref btree.Ref) []byte {
	var e record.Encoder
	e.Reset(record.Class{Module: "persistent.mapping", Name: "PersistentMapping"})
	e.BeginDict(1)
	e.Text(rootKey)
	e.BeginDict(1)
	e.Text(name)
	e.Ref(ref.Oid, ref.Class)
	e.EndDict(1)
	e.EndDict(1)
	return e.Record()
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
	out := bytes.Clone(body)
	out = binary.LittleEndian.AppendUint32(append(out, 'X'), uint32(len(name)))
	out = append(out, name...)
	// Opcodes of protocol 1, which every record may have: the oid as str, and a
	// tuple with a mark. Protocol 3 has bytes for oids.
	oidOp := byte('U')
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

// decodeRoot decodes the record of a PersistentMapping.
func decodeRoot(data []byte) (map[string]btree.Ref, error) {
	// ogórek trusts lengths. What package record accepts it may decode.
	err := record.Decode(data, func(class record.Class, _ record.Value) error {
		if class.Name != "PersistentMapping" {
			return fmt.Errorf("expect a PersistentMapping; got %.200s", class)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d := ogorek.NewDecoderWithConfig(bytes.NewReader(data), &ogorek.DecoderConfig{StrictUnicode: true})
	if _, err := d.Decode(); err != nil {
		return nil, err
	}
	state, err := d.Decode()
	if err != nil {
		return nil, err
	}
	outer, ok := state.(map[any]any)
	if !ok || len(outer) != 1 {
		return nil, fmt.Errorf("expect a dict with one item; got %T", state)
	}
	for key, value := range outer {
		items, ok := value.(map[any]any)
		if name, err := ogorek.AsString(key); err != nil || name != rootKey || !ok {
			return nil, fmt.Errorf("expect a dict under the key %q", rootKey)
		}
		return refsOf(items), nil
	}
	return nil, nil
}

func refsOf(items map[any]any) map[string]btree.Ref {
	refs := make(map[string]btree.Ref)
	for key, value := range items {
		name, err := ogorek.AsString(key)
		if err != nil {
			continue
		}
		ref, _ := value.(ogorek.Ref)
		pid, _ := ref.Pid.(ogorek.Tuple)
		if len(pid) != 2 {
			continue
		}
		oid, err := ogorek.AsBytes(pid[0])
		class, ok := pid[1].(ogorek.Class)
		if err == nil && ok && len(oid) == 8 {
			refs[name] = btree.Ref{
				Oid:   zodb.Oid(binary.BigEndian.Uint64([]byte(oid))),
				Class: record.Class{Module: class.Module, Name: class.Name},
			}
		}
	}
	return refs
}
