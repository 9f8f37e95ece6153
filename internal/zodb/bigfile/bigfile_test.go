package bigfile_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var ctx = context.Background()

func TestRecordsOfPython2Read(t *testing.T) {
	const module = record.ModuleBigFile
	long := strings.Repeat("\xff\x00\x80data", 1000)
	for proto := byte(1); proto <= 3; proto++ {
		py := python2{proto}
		f, err := bigfile.DecodeFile(py.record(module, "ZBigFile", py.tuple("J\x00\x00\x20\x00", py.ref(7, record.LOBTree))))
		if err != nil || *f != (bigfile.File{BlkSize: 2 << 20, Table: 7}) {
			t.Errorf("protocol %d: %+v %v", proto, f, err)
		}
		for _, data := range []string{"", "hello", long} {
			m := newModel()
			for _, name := range []string{"ZBlk", "ZBlk0"} {
				m.records[oidZBlk] = py.record(module, name, py.bytes(data))
				expectBlock(t, m, 2<<20, data)
			}
			m.records[oidZBlk] = py.record(module, "ZBlk1", py.ref(oidTable, record.IOBTree))
			items := py.tuple("K\x05", py.ref(oidChunk, record.ZData), "J\x00\x00\x10\x00", py.ref(oidChunk+1, record.ZData))
			m.records[oidTable] = py.record("BTrees.IOBTree", "IOBTree", py.tuple(py.tuple(py.tuple(items))))
			m.records[oidChunk] = py.record(module, "ZData", py.bytes(data))
			m.records[oidChunk+1] = py.record(module, "ZData", py.bytes("end"))
			expectBlock(t, m, 2<<20, "\x00\x00\x00\x00\x00"+data+strings.Repeat("\x00", 1<<20-5-len(data))+"end")
		}
	}
}

// expectBlock checks that oidZBlk reads as want.
func expectBlock(t *testing.T, m *model, blksize int64, want string) {
	t.Helper()
	block, err := bigfile.LoadBlock(ctx, m, oidZBlk, 100, blksize)
	if err != nil {
		t.Errorf("%s", err)
		return
	}
	defer block.Release()
	if !bytes.Equal(block.Data, []byte(want)) || block.Serial != zodb.Tid(oidZBlk) {
		t.Errorf("%d bytes, serial %s; want %d bytes", len(block.Data), block.Serial, len(want))
	}
}

func TestWhatIsNoZBigFileIsSaid(t *testing.T) {
	state := func(f func(e *record.Encoder)) []byte { return encode(record.ZBigFile, f) }
	pair := func(blksize int64, class record.Class) []byte {
		return state(func(e *record.Encoder) {
			e.BeginTuple(2)
			e.Int(blksize)
			e.Ref(7, class)
			e.EndTuple(2)
		})
	}
	for want, data := range map[string][]byte{
		"expect [2](); got None":        state((*record.Encoder).None),
		"expect [2](); got [0]()":       state(func(e *record.Encoder) { e.BeginTuple(0); e.EndTuple(0) }),
		"blksize: must be > 0; got 0":   pair(0, record.LOBTree),
		"blksize: must be > 0; got -12": pair(-12, record.LOBTree),
		"blktab: expect LOBTree; got BTrees.IOBTree.IOBTree 0000000000000007": pair(1, record.IOBTree),
		"blktab: expect LOBTree; got 5":                                       state(func(e *record.Encoder) { e.BeginTuple(2); e.Int(5); e.Int(5); e.EndTuple(2) }),
		"blksize: expect integer; got None":                                   state(func(e *record.Encoder) { e.BeginTuple(2); e.None(); e.Int(5); e.EndTuple(2) }),
		"BTrees.LOBTree.LOBTree is not a ZBigFile":                            encode(record.LOBTree, (*record.Encoder).None),
		// A state that nobody here can decode: BUILD.
		"m.Array is not a ZBigFile": []byte("\x80\x03cm\nArray\nq\x00.\x80\x03cm\nC\n)\x81}b."),
	} {
		f, err := bigfile.DecodeFile(data)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v (%v)\nwant %s", err, f, want)
		}
		var other *bigfile.NotBigFileError
		if errors.As(err, &other) != strings.Contains(want, "is not a") {
			t.Errorf("type of %q is %T", err, err)
		}
	}
	if f, err := bigfile.DecodeFile(pair(math.MaxInt64, record.LOBTree)); err != nil || f.BlkSize != math.MaxInt64 || f.MemSize() != 16 {
		t.Errorf("%+v %v", f, err)
	}
}

func TestFileOfDirectSourceTellsErrorsApart(t *testing.T) {
	m := newModel()
	m.records[1] = encode(record.LOBTree, (*record.Encoder).None)
	m.records[2] = encode(record.ZBigFile, (*record.Encoder).None)
	m.records[3] = []byte("garbage")
	src := bigfile.Direct{Direct: btree.Direct{Loader: m}}
	var other *bigfile.NotBigFileError
	if _, _, err := src.File(ctx, zodb.Xid{At: 100, Oid: 1}); !errors.As(err, &other) {
		t.Error(err)
	}
	for _, oid := range []zodb.Oid{2, 3} {
		var corrupt *storage.CorruptError
		if _, _, err := src.File(ctx, zodb.Xid{At: 100, Oid: oid}); !errors.As(err, &corrupt) || corrupt.Oid != oid || corrupt.Tid != zodb.Tid(oid) {
			t.Error(err)
		}
	}
	if _, _, err := src.File(ctx, zodb.Xid{At: 100, Oid: 4}); !storage.IsNoData(err) {
		t.Error(err)
	}
}

func TestSizeEndsWithTheLastBlock(t *testing.T) {
	for _, test := range []struct {
		key, blksize, want int64
	}{
		{0, 4096, 4096},
		{9, 1, 10},
		{-1, 4096, 0},
		{math.MinInt64, 4096, 0},
		{math.MaxInt64/4096 - 1, 4096, math.MaxInt64 / 4096 * 4096},
		{math.MaxInt64 / 4096, 4096, -1},
		{math.MaxInt64, 1, -1},
		{math.MaxInt64 - 1, 1, math.MaxInt64},
		{0, math.MaxInt64, math.MaxInt64},
		{1, math.MaxInt64, -1},
	} {
		m := newModel()
		m.records[7] = encode(record.LOBucket, func(e *record.Encoder) {
			e.BeginTuple(1)
			e.BeginTuple(2)
			e.Int(test.key)
			e.Ref(8, record.ZBlk0)
			e.EndTuple(2)
			e.EndTuple(1)
		})
		f := &bigfile.File{BlkSize: test.blksize, Table: 7}
		size, path, err := bigfile.Size(ctx, btree.Direct{Loader: m}, f, 100)
		switch {
		case test.want < 0 && (!errors.Is(err, bigfile.ErrTooBig) || !errors.Is(err, syscall.EFBIG)):
			t.Errorf("#%d x %d: %d %v", test.key, test.blksize, size, err)
		case test.want >= 0 && (err != nil || size != test.want || len(path) != 1):
			t.Errorf("#%d x %d: %d %v %v; want %d", test.key, test.blksize, size, path, err, test.want)
		}
	}
	size, path, err := bigfile.Size(ctx, btree.Direct{Loader: newModel()}, &bigfile.File{BlkSize: 1, Table: 7}, 100)
	if size != 0 || len(path) != 1 || err != nil {
		t.Errorf("no table: %d %v %v", size, path, err)
	}
}
