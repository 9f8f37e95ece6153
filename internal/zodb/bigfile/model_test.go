package bigfile_test

import (
	"context"
	"encoding/binary"
	"sync/atomic"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	oidZBlk  = zodb.Oid(0x10)
	oidTable = zodb.Oid(0x20)
	oidChunk = zodb.Oid(0x1000) // and the following
)

// model is a Loader of one view with everything in memory. The serial of an
// object is its oid.
type model struct {
	records map[zodb.Oid][]byte
	errs    map[zodb.Oid]error

	loads, running, maxRunning atomic.Int64
	hold                       func(ctx context.Context) // called inside Load

	many bool // it is a storage.ManyLoader
}

func (m *model) LoadsMany() bool { return m.many }

func (m *model) LoadMany(ctx context.Context, xids []zodb.Xid) []storage.Loaded {
	all := make([]storage.Loaded, len(xids))
	for i, xid := range xids {
		all[i].Buf, all[i].Serial, all[i].Err = m.Load(ctx, xid)
	}
	return all
}

func newModel() *model {
	return &model{records: make(map[zodb.Oid][]byte), errs: make(map[zodb.Oid]error)}
}

func (m *model) Load(ctx context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	m.loads.Add(1)
	running := m.running.Add(1)
	defer m.running.Add(-1)
	for max := m.maxRunning.Load(); running > max && !m.maxRunning.CompareAndSwap(max, running); max = m.maxRunning.Load() {
	}
	if m.hold != nil {
		m.hold(ctx)
	}
	if err := m.errs[xid.Oid]; err != nil {
		return nil, 0, err
	}
	data, ok := m.records[xid.Oid]
	if !ok {
		return nil, 0, &zodb.NoObjectError{Oid: xid.Oid}
	}
	buf := storage.NewBuf(len(data))
	copy(buf.Data, data)
	return buf, zodb.Tid(xid.Oid), nil
}

// encode returns a record of Python 3.
func encode(class record.Class, state func(e *record.Encoder)) []byte {
	var e record.Encoder
	e.Reset(class)
	state(&e)
	return e.Record()
}

func bytesOf(class record.Class, data []byte) []byte {
	return encode(class, func(e *record.Encoder) { e.Bytes(data) })
}

// piece is a chunk of a ZBlk1.
type piece struct {
	off  int64
	data string
}

// setZBlk1 makes oidZBlk a ZBlk1 with these chunks, which may be wrong. Their
// table is a tree with its only bucket inside.
func (m *model) setZBlk1(pieces ...piece) {
	m.records[oidZBlk] = encode(record.ZBlk1, func(e *record.Encoder) { e.Ref(oidTable, record.IOBTree) })
	m.records[oidTable] = encode(record.IOBTree, func(e *record.Encoder) {
		if len(pieces) == 0 {
			e.None()
			return
		}
		for range 3 {
			e.BeginTuple(1)
		}
		e.BeginTuple(2 * len(pieces))
		for i, p := range pieces {
			e.Int(p.off)
			e.Ref(oidChunk+zodb.Oid(i), record.ZData)
		}
		e.EndTuple(2 * len(pieces))
		for range 3 {
			e.EndTuple(1)
		}
	})
	for i, p := range pieces {
		m.records[oidChunk+zodb.Oid(i)] = bytesOf(record.ZData, []byte(p.data))
	}
}

// python2 writes records as Python 2 does: without PROTO at protocol 1, with str
// for block data, and oids as str before protocol 3.
type python2 struct {
	proto byte
}

func (p python2) record(module, name, state string) []byte {
	proto := ""
	if p.proto >= 2 {
		proto = "\x80" + string(rune(p.proto))
	}
	return []byte(proto + "c" + module + "\n" + name + "\nq\x01." + proto + state + ".")
}

// bytes is a str: at most 255 bytes are written the short way.
func (p python2) bytes(data string) string {
	if len(data) < 256 {
		return "U" + string([]byte{byte(len(data))}) + data + "q\x02"
	}
	return "T" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(data)))) + data + "q\x02"
}

func (p python2) ref(oid zodb.Oid, class record.Class) string {
	id := "\x08" + string(binary.BigEndian.AppendUint64(nil, uint64(oid)))
	global := "c" + class.Module + "\n" + class.Name + "\n"
	switch p.proto {
	case 1:
		return "(U" + id + "q\x05" + global + "q\x06tq\x07Q"
	case 2:
		return "U" + id + "q\x05" + global + "q\x06\x86q\x07Q"
	}
	return "C" + id + global + "q\x06\x86Q"
}

// tuple makes a tuple: at protocol 1 always with a mark.
func (p python2) tuple(items ...string) string {
	state := ""
	for _, item := range items {
		state += item
	}
	if p.proto == 1 || len(items) == 0 || len(items) > 3 {
		return "(" + state + "t"
	}
	return state + string([]byte{0x84 + byte(len(items))})
}
