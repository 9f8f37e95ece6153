package zwrite

import (
	"os"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// FuzzOpenAnyFile opens arbitrary files with arbitrary saved indices. If that
// works then a commit must, and what is there afterwards can be opened again.
func FuzzOpenAnyFile(f *testing.F) {
	path := tempPath(f)
	db := create(f, path, Options{})
	commit(f, db, put(10, "one", 0, 1))
	commit(f, db, put(11, "two", 1))
	closeDB(f, db)
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	index, err := os.ReadFile(path + ".index")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, index)
	f.Add(data[:len(data)-5], index)
	f.Add(append(data, 1, 2, 3), []byte{})
	f.Fuzz(func(t *testing.T, data, index []byte) {
		path := tempPath(t)
		if os.WriteFile(path, data, 0o666) != nil || os.WriteFile(path+".index", index, 0o666) != nil {
			t.Fatal("cannot write")
		}
		db, err := Open(ctx, path, Options{NoSync: true, scanLimit: 1})
		if err != nil {
			return
		}
		txn, err := db.Begin(ctx, Meta{})
		if err != nil {
			t.Fatal(err)
		}
		for oid := range zodb.Oid(3) {
			txn.Load(oid)
		}
		txn.Store(1, []byte("x"))
		if _, err := txn.Commit(); err != nil {
			t.Logf("commit: %s", err) // no tid or oid may be left
			txn.Abort()
		}
		closeDB(t, db)
		head := db.Head()
		if db = reopen(t, path, Options{}); db.Head() != head {
			t.Fatalf("opened at %s; want %s", db.Head(), head)
		}
		closeDB(t, db)
	})
}
