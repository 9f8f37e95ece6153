package zwrite

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/t/oracle"
)

func TestNamesOfRealDatabasesAreFoundAndKept(t *testing.T) {
	for _, name := range oracle.All(t) {
		db := oracle.Load(t, name)
		data, err := os.ReadFile(db.Path)
		if err != nil {
			t.Fatal(err)
		}
		path := tempPath(t)
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		w := reopen(t, path, Options{})
		want := make(map[string]btree.Ref)
		for i := range 3 {
			txn := begin(t, w, Meta{})
			names, err := rootNames(txn)
			if err != nil {
				t.Fatalf("%s: %s", name, err)
			}
			if i == 0 {
				for file, f := range db.Files {
					if ref := names[file]; len(db.Files) > 1 && ref != (btree.Ref{Oid: f.Oid, Class: record.ZBigFile}) && ref.Class.Name != "ZBigArray" {
						t.Errorf("%s: %s is %v", name, file, ref)
					}
				}
				want = names
			}
			if !maps.Equal(names, want) {
				t.Errorf("%s: names %v; want %v", name, names, want)
			}
			key := fmt.Sprint("new ", i/2) // one is set twice
			want[key] = btree.Ref{Oid: zodb.Oid(1000 + i), Class: record.ZBigFile}
			if err := SetName(txn, key, want[key]); err != nil {
				t.Fatalf("%s: %s", name, err)
			}
			if _, err := txn.Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestFirstNameMakesTheRootThatPythonMakes(t *testing.T) {
	db := create(t, tempPath(t), Options{})
	txn := begin(t, db, Meta{})
	defer txn.Abort()
	if names, err := rootNames(txn); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	if err := SetName(txn, "a", btree.Ref{Oid: 1, Class: record.ZBigFile}); err != nil {
		t.Fatal(err)
	}
	want := "\x80\x03cpersistent.mapping\nPersistentMapping\nq\x00.\x80\x03}q\x01X\x04\x00\x00\x00dataq\x02}q\x03" +
		"X\x01\x00\x00\x00aq\x04C\x08\x00\x00\x00\x00\x00\x00\x00\x01q\x05cwendelin.bigfile.file_zodb\nZBigFile\nq\x06\x86q\x07Qss."
	if data, _, err := txn.Load(RootOid); err != nil || string(data) != want {
		t.Errorf("%q, %v", data, err)
	}
	for _, text := range []string{"b", "c", "b"} {
		if err := SetName(txn, text, btree.Ref{Oid: 2, Class: record.ZBigFile}); err != nil {
			t.Error(err)
		}
	}
	if names, err := rootNames(txn); err != nil || len(names) != 3 {
		t.Errorf("%v, %v", names, err)
	}
	txn.Store(RootOid, btree.EncodeEmpty(btree.LO))
	if err := SetName(txn, "a", btree.Ref{Oid: 1, Class: record.ZBigFile}); err == nil {
		t.Error("the root is a tree")
	}
}

// TestWrittenArraysReadBackAtEveryView writes files, and reads them as the
// server does.
func TestWrittenArraysReadBackAtEveryView(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const blksize = 3 * 4096
	path := tempPath(t)
	db := create(t, path, Options{Buffer: 20000})
	txn := begin(t, db, Meta{})
	oid, err := bigfile.NewFile(txn, blksize)
	if err != nil {
		t.Fatal(err)
	}
	if err := SetName(txn, "file", btree.Ref{Oid: oid, Class: record.ZBigFile}); err != nil {
		t.Fatal(err)
	}
	at, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[int64][]byte{}
	views := map[zodb.Tid]map[int64][]byte{at: maps.Clone(blocks)}
	n := 60
	if testing.Short() {
		n = 20
	}
	for range n {
		txn := begin(t, db, Meta{})
		w, err := bigfile.NewWriter(txn, oid, bigfile.Format(rnd.IntN(3)))
		if err != nil {
			t.Fatal(err)
		}
		from := rnd.Int64N(300)
		for blk := from; blk < from+1+rnd.Int64N(5); blk++ {
			data := bytes.Clone(append(blocks[blk], make([]byte, blksize-len(blocks[blk]))...))
			for range 1 + rnd.IntN(3000)*rnd.IntN(2) {
				data[rnd.IntN(len(data))] = byte(rnd.Uint32())
			}
			if err := w.WriteBlock(ctx, blk, data); err != nil {
				t.Fatal(err)
			}
			blocks[blk] = bytes.TrimRight(data, "\x00")
		}
		w.Flush()
		if at, err = txn.Commit(); err != nil {
			t.Fatal(err)
		}
		views[at] = maps.Clone(blocks)
	}
	stor, _ := openReader(t, path)
	for at, blocks := range views {
		if err := checkView(stor, oid, at, blocks); err != nil {
			t.Fatalf("@%s: %s", at, err)
		}
	}
}

func checkView(loader storage.Loader, oid zodb.Oid, at zodb.Tid, want map[int64][]byte) error {
	ctx := context.Background()
	src := bigfile.Direct{Direct: btree.Direct{Loader: loader}}
	file, _, err := src.File(ctx, zodb.Xid{At: at, Oid: oid})
	if err != nil {
		return err
	}
	n := 0
	err = btree.Items(ctx, src, file.Table, at, 0, 1<<62, func(blk int64, zblk zodb.Oid) error {
		n++
		block, err := bigfile.LoadBlock(ctx, loader, zblk, at, file.BlkSize)
		if err == nil && !bytes.Equal(block.Data, want[blk]) {
			err = fmt.Errorf("block %d reads wrong", blk)
		}
		return err
	})
	if err == nil && n != len(want) {
		err = fmt.Errorf("%d blocks; want %d", n, len(want))
	}
	return err
}

func TestNamesOfOldRootAreFoundAndKept(t *testing.T) {
	db := create(t, tempPath(t), Options{})
	txn := begin(t, db, Meta{})
	defer txn.Abort()
	class := btree.Ref{Oid: 1, Class: record.Class{Module: "mod", Name: "Array"}}
	txn.Store(RootOid, []byte("cPersistence\nPersistentMapping\nq\x01."+
		"}q\x02U\n_containerq\x03}q\x04("+
		"U\x01aq\x05(U\x08\x00\x00\x00\x00\x00\x00\x00\x01q\x06cmod\nArray\nq\x07tq\x08Q"+
		"U\x01bq\x09K\x05"+ // no reference
		"U\x01cq\x0ah\x08QU\x01cq\x0bNus.")) // no reference in the end
	want := map[string]btree.Ref{"a": class}
	if names, err := rootNames(txn); err != nil || !maps.Equal(names, want) {
		t.Errorf("%v, %v", names, err)
	}
	want["d"] = btree.Ref{Oid: 2, Class: record.ZBigFile}
	if err := SetName(txn, "d", want["d"]); err != nil {
		t.Error(err)
	}
	if names, err := rootNames(txn); err != nil || !maps.Equal(names, want) {
		t.Errorf("%v, %v", names, err)
	}
}

// rootNames returns which objects the root object refers to by name. Values that
// are not references, and keys that are not text, are left out. It is empty if
// there is no root object yet.
//
// Errors are those of OpenFolder.
func rootNames(txn btree.Txn) (map[string]btree.Ref, error) {
	names := make(map[string]btree.Ref)
	root, err := OpenRoot(txn)
	if err != nil {
		return nil, err
	}
	err = root.Each(func(name string, ref btree.Ref) error {
		if ref != (btree.Ref{}) {
			names[name] = ref
		}
		return nil
	})
	return names, err
}
