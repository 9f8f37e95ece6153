package catalog

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage/mem"
)

// Classes of test objects.
var (
	mappingClass = record.Class{Module: "persistent.mapping", Name: "PersistentMapping"}
	listClass    = record.Class{Module: "persistent.list", Name: "PersistentList"}
	treeClass    = record.Class{Module: "BTrees.OOBTree", Name: "OOBTree"}
	bucketClass  = record.Class{Module: "BTrees.OOBTree", Name: "OOBucket"}
	setClass     = record.Class{Module: "BTrees.OOBTree", Name: "OOTreeSet"}
	setLeafClass = record.Class{Module: "BTrees.OOBTree", Name: "OOSet"}
	appClass     = record.Class{Module: "app.model", Name: "Folder"}
)

// Values of states: nil, int, string, and
type (
	pyRef struct {
		oid   zodb.Oid
		class record.Class
	}
	pyTuple []any
	pyList  []any
	pyDict  []any          // key, value, key, value
	pyMap   map[string]any // a dict with sorted keys
	pyNew   struct {
		class record.Class
		state any
	} // a plain object of Python
	pyRaw string // opcodes
)

// pickled returns the record of an object: opcodes as of protocol 3, without memo.
func pickled(class record.Class, state any) []byte {
	b := appendGlobal([]byte{0x80, 3}, class)
	b = append(b, '.', 0x80, 3)
	return append(appendValue(b, state), '.')
}

func appendGlobal(b []byte, class record.Class) []byte {
	return append(b, "c"+class.Module+"\n"+class.Name+"\n"...)
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 'N')
	case int:
		return binary.LittleEndian.AppendUint32(append(b, 'J'), uint32(v))
	case string:
		b = binary.LittleEndian.AppendUint32(append(b, 'X'), uint32(len(v)))
		return append(b, v...)
	case pyRef:
		if v.class == (record.Class{}) { // the oid alone
			return append(appendOid(b, v.oid), 'Q')
		}
		b = appendOid(append(b, '('), v.oid)
		return append(appendGlobal(b, v.class), 't', 'Q')
	case pyTuple:
		return append(appendValues(append(b, '('), v), 't')
	case pyList:
		return append(appendValues(append(b, ']', '('), v), 'e')
	case pyDict:
		return append(appendValues(append(b, '}', '('), v), 'u')
	case pyMap:
		var d pyDict
		for _, key := range slices.Sorted(maps.Keys(v)) {
			d = append(d, key, v[key])
		}
		return appendValue(b, d)
	case pyNew:
		b = append(appendGlobal(b, v.class), ')', 0x81) // EMPTY_TUPLE NEWOBJ
		return append(appendValue(b, v.state), 'b')
	case pyRaw:
		return append(b, v...)
	}
	panic(fmt.Sprintf("%T", v))
}

func appendOid(b []byte, oid zodb.Oid) []byte {
	return binary.BigEndian.AppendUint64(append(b, 'C', 8), uint64(oid))
}

func appendValues(b []byte, values []any) []byte {
	for _, v := range values {
		b = appendValue(b, v)
	}
	return b
}

// mapping returns the record of a PersistentMapping.
func mapping(items pyMap) []byte { return pickled(mappingClass, pyMap{"data": items}) }

// world is a database that is put together by hand. All of it is committed by
// one transaction at a time.
type world struct {
	t       testing.TB
	stor    *mem.Storage
	records map[zodb.Oid][]byte
	classes map[zodb.Oid]record.Class
	last    zodb.Oid
	tid     zodb.Tid
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, stor: mem.New(), records: make(map[zodb.Oid][]byte), classes: make(map[zodb.Oid]record.Class), tid: 0x100}
	t.Cleanup(func() { w.stor.Close() })
	return w
}

// New, Load and Store implement btree.Txn.
func (w *world) New() zodb.Oid {
	w.last++
	return w.last
}

func (w *world) Load(oid zodb.Oid) ([]byte, zodb.Tid, error) {
	if data, ok := w.records[oid]; ok {
		return data, 0, nil
	}
	return nil, 0, &zodb.NoObjectError{Oid: oid}
}

func (w *world) Store(oid zodb.Oid, data []byte) {
	w.records[oid] = data
	w.classes[oid], _ = record.ClassOf(data)
}

var _ btree.Txn = (*world)(nil)

// add stores a new object and returns a reference to it.
func (w *world) add(class record.Class, state any) pyRef {
	oid := w.New()
	w.Store(oid, pickled(class, state))
	return pyRef{oid, class}
}

func (w *world) root(items pyMap) { w.Store(rootOid, mapping(items)) }

func (w *world) commit() zodb.Tid {
	w.tid++
	w.stor.Commit(w.tid, w.records)
	w.records = make(map[zodb.Oid][]byte)
	return w.tid
}

// file makes a ZBigFile with those blocks of 8 bytes.
func (w *world) file(blocks ...int64) pyRef {
	oid, err := bigfile.NewFile(w, 8)
	require.NoError(w.t, err)
	if len(blocks) > 0 {
		out, err := bigfile.NewWriter(w, oid, bigfile.FormatZBlk0)
		require.NoError(w.t, err)
		for _, blk := range blocks {
			require.NoError(w.t, out.WriteBlock(w.t.Context(), blk, []byte("data")))
		}
		out.Flush()
	}
	return pyRef{oid, record.ZBigFile}
}

// array makes a ZBigArray of n doubles on a file.
func (w *world) array(n int, file pyRef) pyRef {
	return w.add(zBigArray, arrayState(n, file))
}

// arrayState is what a ZBigArray saves: attributes, and zfile, which is a slot.
func arrayState(n int, file any) any {
	dtype := pyRaw("cnumpy\ndtype\nX\x02\x00\x00\x00f8K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
	return pyTuple{
		pyMap{"_dtype": dtype, "_shape": pyTuple{n}, "_order": "C", "_stridev": pyTuple{8}},
		pyMap{"zfile": file},
	}
}

// entries are what Walk finds at view at.
func (w *world) entries(at zodb.Tid) []*Entry {
	w.t.Helper()
	var found []*Entry
	require.NoError(w.t, Walk(w.t.Context(), w.stor, at, func(e *Entry) error {
		found = append(found, e)
		return nil
	}))
	return found
}

// paths commits and returns the paths that Walk finds, in order. Entries with an
// error have a question mark.
func (w *world) paths() (paths []string) {
	w.t.Helper()
	for _, e := range w.entries(w.commit()) {
		path := e.Path
		if e.Err != nil {
			path += "?"
		}
		paths = append(paths, path)
	}
	return paths
}
