package zwrite

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
	"github.com/wcfs/wcfs/t/oracle"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFileIsByteForByteWhatPythonWrites(t *testing.T) {
	path := tempPath(t)
	db := create(t, path, Options{})
	m := put(0x0285cbac00000001, "", 0)
	m.Records = []storagetest.Record{{Oid: 0, Data: []byte("ROOT1")}, {Oid: 1, Data: []byte("A1")}}
	commit(t, db, m)
	m = put(0x0285cbac00000002, "A2", 1)
	m.Extension = []byte("\x80\x03}q\x00X\x06\x00\x00\x00numberq\x01M\x01\x01s.")
	commit(t, db, m)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := unhex(t, `46533330
		0285cbac00000001 0000000000000075 20 0001 0002 0000 75 6464
		0000000000000000 0285cbac00000001 0000000000000000 0000000000000004 0000 0000000000000005`)
	want = append(want, "ROOT1"...)
	want = append(want, unhex(t, "0000000000000001 0285cbac00000001 0000000000000000 0000000000000004 0000 0000000000000002")...)
	want = append(want, "A1"...)
	want = append(want, unhex(t, "0000000000000075")...)
	if !bytes.Equal(data[:0x81], want) {
		t.Fatalf("transaction 1:\n%x", data[:0x81])
	}
	if len(data) != 0xe6 {
		t.Fatalf("transaction 2 ends at %#x", len(data))
	}
	want = unhex(t, "0285cbac00000002 000000000000005d 20 0001 0002 0017")
	if !bytes.Equal(data[0x81:0x81+23], want) {
		t.Fatalf("transaction 2:\n%x", data[0x81:])
	}
	want = append(unhex(t, "0000000000000001 0285cbac00000002 000000000000004d 0000000000000081 0000 0000000000000002"), "A2"...)
	want = append(want, unhex(t, "000000000000005d")...)
	if !bytes.Equal(data[0xb2:], want) {
		t.Fatalf("record of transaction 2:\n%x", data[0xb2:])
	}
	commit(t, db, storagetest.Txn{Tid: 0x0285cbac00000004, Records: []storagetest.Record{{Oid: 1}}})
	data, _ = os.ReadFile(path)
	want = unhex(t, `0000000000000001 0285cbac00000004 00000000000000b2 00000000000000e6 0000 0000000000000000 0000000000000000
		0000000000000049`)
	if !bytes.Equal(data[0xe6+23:], want) {
		t.Fatalf("deletion:\n%x", data[0xe6:])
	}
}

// TestDatabasesOfPythonAreWrittenTheSame repeats the transactions of real
// databases, except for undone ones, whose records are back pointers.
func TestDatabasesOfPythonAreWrittenTheSame(t *testing.T) {
	for _, name := range []string{"bigtree", "topo"} {
		db := oracle.Load(t, name)
		want, err := os.ReadFile(db.Path)
		if err != nil {
			t.Fatal(err)
		}
		path := tempPath(t)
		w := create(t, path, Options{})
		recs := db.Records(t)
		for pos := uint64(4); pos < uint64(len(want)); {
			h := fsformat.DecodeTxn(int64(pos), want[pos:])
			s := want[pos+fsformat.TxnSize:]
			m := storagetest.Txn{Tid: h.Tid, User: s[:h.User], Description: s[h.User : h.User+h.Desc], Extension: s[h.User+h.Desc:][:h.Ext]}
			for len(recs) > 0 && recs[0].Tid == h.Tid {
				m.Records = append(m.Records, storagetest.Record{Oid: recs[0].Oid, Data: recs[0].Data})
				recs = recs[1:]
			}
			commit(t, w, m)
			pos = uint64(h.End())
		}
		closeDB(t, w)
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v: the file is another one", name, err)
		}
		gotIndex, _ := os.ReadFile(path + ".index")
		wantIndex, err := os.ReadFile(db.Path + ".index")
		if err != nil || !bytes.Equal(gotIndex, wantIndex) {
			t.Errorf("%s: %v: the index is another one: %d bytes; want %d", name, err, len(gotIndex), len(wantIndex))
		}
	}
}

func TestTidsAreThoseOfPython(t *testing.T) {
	for text, want := range map[string]zodb.Tid{
		"1979-01-03T21:00:08.8Z":           0x0285cbac258bf258,
		"2024-02-29T23:59:59.999999Z":      0x03f6df7fffffffb8,
		"2000-01-01T00:00:01Z":             0x0331620004444444,
		"2025-04-11T09:04:00Z":             0x0400000000000000,
		"2025-04-11T11:04:00+02:00":        0x0400000000000000,
		"1900-01-01T00:00:00Z":             0,
		"2024-02-29T23:59:59.999999999Z":   0x03f6df7fffffffff,
		"2024-02-29T23:59:59.99999999999Z": 0x03f6df7fffffffff,
	} {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		if got := TidOf(at); got != want {
			t.Errorf("%s: %s; want %s", text, got, want)
		}
	}
}

func TestDatabasesOfPythonCanBeContinued(t *testing.T) {
	for _, name := range []string{"basic", "bigtree", "packed", "topo"} {
		old := oracle.Load(t, name)
		data, err := os.ReadFile(old.Path)
		if err != nil {
			t.Fatal(err)
		}
		path := tempPath(t)
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		binary.BigEndian.PutUint32(data, binary.BigEndian.Uint32([]byte(fsformat.MagicPy2))) // as from Python 2
		check(os.WriteFile(path, data, 0o666))
		index, err := os.ReadFile(old.Path + ".index")
		check(err)
		check(os.WriteFile(path+".index", index, 0o666))
		db := reopen(t, path, Options{scanLimit: 1, Warnf: t.Errorf})
		if db.Head() != old.Head || db.unsaved {
			t.Errorf("%s: opened at %s, index unsaved: %v; want %s", name, db.Head(), db.unsaved, old.Head)
		}
		txn := begin(t, db, Meta{})
		root, serial, err := txn.Load(0)
		check(err)
		oid := txn.New()
		if _, _, err := txn.Load(oid - 1); err != nil && !storage.IsNoData(err) {
			t.Error(err)
		}
		txn.Expect(0, serial)
		txn.Store(0, root)
		txn.Store(oid, []byte("new"))
		tid, err := txn.Commit()
		check(err)
		closeDB(t, db)
		checkIndex(t, path, true)
		after, err := os.ReadFile(path)
		check(err)
		if !bytes.Equal(after[:len(data)], data) {
			t.Errorf("%s: what was there has changed", name)
		}
		stor, at0 := openReader(t, path)
		if buf, _, err := stor.Load(ctx, zodb.Xid{At: tid, Oid: oid}); at0 != tid || err != nil || string(buf.Data) != "new" {
			t.Errorf("%s: @%s: %v", name, at0, err)
		}
	}
}
