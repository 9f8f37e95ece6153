package zwrite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"

	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

func TestMain(m *testing.M) {
	// The format library links in a logger that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

var ctx = context.Background()

func tempPath(t testing.TB) string { return filepath.Join(t.TempDir(), "Data.fs") }

func create(t testing.TB, path string, opt Options) *DB {
	t.Helper()
	opt.NoSync = true
	db, err := Create(ctx, path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func reopen(t testing.TB, path string, opt Options) *DB {
	t.Helper()
	opt.NoSync = true
	db, err := Open(ctx, path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func closeDB(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func begin(t testing.TB, db *DB, meta Meta) *Txn {
	t.Helper()
	txn, err := db.Begin(ctx, meta)
	if err != nil {
		t.Fatal(err)
	}
	return txn
}

// apply makes the changes of m in txn.
func apply(txn *Txn, m storagetest.Txn) {
	for _, r := range m.Records {
		if r.Data == nil {
			txn.Delete(r.Oid)
		} else {
			txn.Store(r.Oid, r.Data)
		}
	}
}

func metaOf(m storagetest.Txn) Meta {
	return Meta{User: m.User, Description: m.Description, Extension: m.Extension, Tid: m.Tid}
}

// commit commits m and fails the test if that does not work.
func commit(t testing.TB, db *DB, m storagetest.Txn) zodb.Tid {
	t.Helper()
	txn := begin(t, db, metaOf(m))
	apply(txn, m)
	tid, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

func put(tid zodb.Tid, text string, oids ...zodb.Oid) storagetest.Txn {
	m := storagetest.Txn{Tid: tid, User: []byte("u"), Description: []byte("dd")}
	for _, oid := range oids {
		m.Records = append(m.Records, storagetest.Record{Oid: oid, Data: []byte(text)})
	}
	return m
}

// openReader opens the database as the server does.
func openReader(t testing.TB, path string) (storage.Storage, zodb.Tid) {
	t.Helper()
	u, err := storage.ParseURL("file://" + path)
	if err != nil {
		t.Fatal(err)
	}
	stor, at0, err := fs1.Open(ctx, u, storage.Options{Warnf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stor.Close() })
	return stor, at0
}

// checkReader compares all objects at all views with the model.
func checkReader(t testing.TB, path string, model *storagetest.Model) {
	t.Helper()
	stor, at0 := openReader(t, path)
	defer stor.Close()
	if at0 != model.Head() {
		t.Fatalf("reader opens at %s; want %s", at0, model.Head())
	}
	for _, txn := range model.Txns {
		for _, oid := range model.Oids() {
			if err := storagetest.CheckLoad(ctx, stor, model, zodb.Xid{At: txn.Tid, Oid: oid}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// checkIndex compares the saved index with what a scan gives, and may have it
// verified against all of the data, both by another implementation.
func checkIndex(t testing.TB, path string, verify bool) {
	t.Helper()
	saved, err := fsfmt.LoadIndexFile(path + ".index")
	if err != nil {
		t.Fatal(err)
	}
	scanned, err := fsfmt.BuildIndexForFile(ctx, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !saved.Equal(scanned) {
		t.Fatalf("saved index covers %d bytes and has %d objects; a scan finds %d and %d", saved.TopPos, saved.Len(), scanned.TopPos, scanned.Len())
	}
	if !verify {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := saved.Verify(ctx, f, -1, nil); err != nil {
		t.Fatal(err)
	}
}

// stepFile calls hook before each step that changes the file, and cuts writes
// into pieces so that there are more steps.
type stepFile struct {
	File
	piece int // bytes, 0: do not cut

	mu   sync.Mutex
	hook func(step string) error // guarded by mu
}

func (f *stepFile) step(format string, args ...any) error {
	f.mu.Lock()
	hook := f.hook
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(fmt.Sprintf(format, args...))
}

func (f *stepFile) setHook(hook func(step string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func (f *stepFile) WriteAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		piece := b[n:]
		if f.piece > 0 {
			piece = piece[:min(f.piece, len(piece))]
		}
		if err := f.step("write %d at %d", len(piece), off+int64(n)); err != nil {
			return n, err
		}
		m, err := f.File.WriteAt(piece, off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (f *stepFile) Sync() error {
	return f.step("sync")
}

func (f *stepFile) Truncate(size int64) error {
	if err := f.step("truncate to %d", size); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// createStepped creates a database whose steps go through a stepFile. Unlike
// others it calls Sync, which does nothing.
func createStepped(t testing.TB, path string, piece int, buffer int64) (*DB, *stepFile) {
	t.Helper()
	var steps *stepFile
	wrap := func(f File) File {
		steps = &stepFile{File: f, piece: piece}
		return steps
	}
	db, err := Create(ctx, path, Options{Wrap: wrap, Buffer: buffer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, steps
}
