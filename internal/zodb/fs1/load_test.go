package fs1

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestDamagedRecordFailsItsLoadsWithoutHugeAllocations(t *testing.T) {
	for name, spoil := range map[string]func(w *storagetest.FSWriter){
		"data 2^62":          func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+34, u64(1<<62)) },
		"data 2^63-1":        func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+34, u64(1<<63-1)) },
		"data 2^63":          func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+34, u64(1<<63)) },
		"data 100 GiB":       func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+34, u64(100<<30)) },
		"data of file size":  func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+34, u64(uint64(w.End()+1))) },
		"data longer":        func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+34, u64(uint64(len("newer")+1))) },
		"oid":                func(w *storagetest.FSWriter) { w.Patch(w.Pos(1), u64(2)) },
		"previous is itself": func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+16, u64(uint64(w.Pos(1)))) },
		"previous forward":   func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+16, u64(uint64(w.End()))) },
		"previous 5":         func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+16, u64(5)) },
		"previous huge":      func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+16, u64(1<<63+5)) },
		"transaction huge":   func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+24, u64(1<<62)) },
		"transaction other":  func(w *storagetest.FSWriter) { w.Patch(w.Pos(1)+24, u64(4)) },
		"truncated":          func(w *storagetest.FSWriter) { w.Truncate(w.Pos(1) + 10) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.commit(put(10, "older", 1, 2))
			r.commit(put(11, "newer", 1))
			r.mustOpen()
			spoil(r.w)
			// With a wrong link only the older revision is out of reach.
			at := zodb.Tid(11)
			if strings.HasPrefix(name, "previous ") {
				at = 10
			}
			r.wantCorrupt(zodb.Xid{At: at, Oid: 1})
			if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: 11, Oid: 2}); err != nil {
				t.Errorf("another object: %v", err)
			}
		})
	}
}

// wantCorrupt loads xid, and expects a CorruptError and no big allocation.
func (r *rig) wantCorrupt(xid zodb.Xid) {
	r.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := r.Load(r.ctx, xid)
	runtime.ReadMemStats(&after)
	var corrupt *storage.CorruptError
	if !errors.As(err, &corrupt) || corrupt.Oid != xid.Oid {
		r.Errorf("load: %v; want a CorruptError", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 10<<20 {
		r.Errorf("%d bytes were allocated", n)
	}
	r.Log(err)
}

func TestBackPointersThatDoNotGoBackAreRefused(t *testing.T) {
	for name, target := range map[string]func(w *storagetest.FSWriter) int64{
		"itself":         func(w *storagetest.FSWriter) int64 { return w.Pos(1) },
		"forward":        func(w *storagetest.FSWriter) int64 { return w.End() },
		"huge":           func(w *storagetest.FSWriter) int64 { return 1 << 62 },
		"negative":       func(w *storagetest.FSWriter) int64 { return -50 },
		"header":         func(w *storagetest.FSWriter) int64 { return 3 },
		"another object": func(w *storagetest.FSWriter) int64 { return w.RevPos(2, 10) },
		"no record":      func(w *storagetest.FSWriter) int64 { return w.RevPos(1, 10) + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.commit(put(10, "one", 1, 2))
			r.commit(put(11, "two", 1))
			r.commit(storagetest.Txn{Tid: 12, Records: []storagetest.Record{{Oid: 1, SameAs: 10, Data: []byte("one")}}})
			r.mustOpen()
			r.checkLoads()
			r.w.Patch(r.w.Pos(1)+42, u64(uint64(target(r.w))))
			r.wantCorrupt(zodb.Xid{At: 12, Oid: 1})
		})
	}
}

func TestLongChainsAreWalked(t *testing.T) {
	r := newRig(t)
	r.commit(put(1, "first", 1))
	for tid := zodb.Tid(2); tid < 1500; tid++ {
		r.commit(storagetest.Txn{Tid: tid, Records: []storagetest.Record{{Oid: 1, SameAs: tid - 1, Data: []byte("first")}}})
	}
	r.mustOpen()
	for _, at := range []zodb.Tid{1, 2, 700, 1499} {
		if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: at, Oid: 1}); err != nil {
			t.Error(err)
		}
	}
}

func TestCompressedRecordsAreUnpackedWithinBounds(t *testing.T) {
	pack := func(plain []byte) []byte {
		var b bytes.Buffer
		b.WriteString(".z")
		z := zlib.NewWriter(&b)
		z.Write(plain)
		z.Close()
		return b.Bytes()
	}
	r := newRig(t)
	plain := bytes.Repeat([]byte("plain "), 1000)
	packed := pack(plain)
	r.commit(storagetest.Txn{Tid: 10, Records: []storagetest.Record{
		{Oid: 1, Data: packed},
		{Oid: 2, Data: packed[:len(packed)/2]},
		{Oid: 3, Data: []byte(".zgarbage")},
		{Oid: 4, Data: pack(nil)},
		{Oid: 5, Data: []byte(".e is of another wrapper")},
	}})
	r.mustOpen()
	buf, serial, err := r.Load(r.ctx, zodb.Xid{At: 10, Oid: 1})
	if err != nil || serial != 10 || !bytes.Equal(buf.Data, plain) {
		t.Fatalf("load: serial %s, %v", serial, err)
	}
	for oid := zodb.Oid(2); oid < 5; oid++ {
		r.wantCorrupt(zodb.Xid{At: 10, Oid: oid})
	}
	if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, zodb.Xid{At: 10, Oid: 5}); err != nil {
		t.Error(err)
	}
	if _, err := storage.Unpack(pack(make([]byte, 3000)), 2999); err == nil {
		t.Error("more than the bound was unpacked")
	}
}

// realDatabases returns the databases written by others that are at hand.
func realDatabases(t testing.TB) []string {
	own, _ := filepath.Glob("../../../t/testdata/*.fs")
	shared, _ := filepath.Glob("../../../../shared/testdata/*.fs")
	if len(own)+len(shared) == 0 {
		t.Skip("there are none")
	}
	return append(own, shared...)
}

// TestDatabasesWrittenByPython compares transactions with what is recorded
// beside each database, and loads every object at every transaction, by the
// index that was saved with it and by a scan.
func TestDatabasesWrittenByPython(t *testing.T) {
	for _, path := range realDatabases(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			var want struct {
				Head string
				Txns []struct {
					Tid  string
					Oids []string
				}
			}
			text, err := os.ReadFile(strings.TrimSuffix(path, ".fs") + ".json")
			if err == nil {
				err = json.Unmarshal(text, &want)
			}
			if err != nil {
				t.Skip(err)
			}
			for _, limit := range []int64{0, 1 << 40} {
				cfg := defaultConfig()
				cfg.scanLimit = limit
				s, at0, err := open(t.Context(), fileURL(path), storage.Options{Warnf: t.Logf}, cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if at0.String() != want.Head {
					t.Errorf("opened at %s; want %s", at0, want.Head)
				}
				told := make(map[string]string)
				for _, txn := range want.Txns {
					told[txn.Tid] = fmt.Sprint(txn.Oids)
				}
				checkReal(t, s, told)
			}
		})
	}
}

// checkReal loads what every transaction of s says that it changed. told has
// the objects of transactions by tid.
func checkReal(t *testing.T, s *Storage, told map[string]string) {
	err := s.Iterate(t.Context(), 0, zodb.TidMax, func(txn *storage.Txn) error {
		if oids := told[txn.Tid.String()]; len(oids) > len("[]") && oids != fmt.Sprint(txn.Oids) {
			t.Errorf("transaction %s: objects %v; want %s", txn.Tid, txn.Oids, oids)
		}
		delete(told, txn.Tid.String())
		for _, oid := range txn.Oids {
			buf, serial, err := s.Load(t.Context(), zodb.Xid{At: txn.Tid, Oid: oid})
			if err != nil && !storage.IsNoData(err) {
				return err
			}
			if err == nil {
				if serial != txn.Tid || len(buf.Data) == 0 {
					t.Errorf("load %s @%s: serial %s, %d bytes", oid, txn.Tid, serial, len(buf.Data))
				}
				buf.Release()
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if len(told) != 0 {
		t.Errorf("transactions are missing: %v", told)
	}
}

// FuzzOpenAndLoad mutates a small database: nothing may panic or ask for much
// memory, whatever is in the file.
func FuzzOpenAndLoad(f *testing.F) {
	w := newWriter(f)
	w.Commit(put(10, "one", 1, 2))
	w.Commit(put(11, "two", 1))
	w.Commit(storagetest.Txn{Tid: 12, Extension: []byte("e"), Records: []storagetest.Record{{Oid: 1, SameAs: 10}, {Oid: 2}}})
	good, err := os.ReadFile(w.Path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, uint16(0), uint64(0))
	for at := range len(good) {
		f.Add(good, uint16(at), uint64(1<<63-1))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, at uint16, value uint64) {
		if len(content) > 1<<16 {
			t.Skip("too big")
		}
		content = bytes.Clone(content)
		if int(at)+8 <= len(content) {
			copy(content[at:], u64(value))
		}
		path := filepath.Join(dir, "Data.fs")
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		// Without a follower, which would make coverage depend on time.
		file, fi, err := openFile(path)
		if err != nil {
			return
		}
		df := newDataFile(file, fi)
		s := newStorage(context.Background(), path, fileURL(path), storage.Options{}, defaultConfig())
		s.cur = df
		defer s.Close()
		if err := df.extend(context.Background(), zodb.TidMax, nil, nil); err != nil {
			if !fsformat.IsDamage(err) {
				t.Fatalf("index: %v", err)
			}
		}
		at0 := df.last
		s.head = at0
		for oid := range zodb.Oid(4) {
			for at := at0 - min(at0, 3); at <= at0; at++ {
				if buf, _, err := s.Load(context.Background(), zodb.Xid{At: at, Oid: oid}); err == nil {
					buf.Release()
				}
			}
		}
		_ = s.Iterate(context.Background(), 0, zodb.TidMax, func(*storage.Txn) error { return nil })
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
			t.Fatalf("%d bytes were allocated", n)
		}
	})
}
