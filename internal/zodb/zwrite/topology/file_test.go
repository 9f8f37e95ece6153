package topology

import (
	"context"
	"path/filepath"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

func TestFileReadsTheBlocksThatItsTopologyNames(t *testing.T) {
	ctx := context.Background()
	db, err := zwrite.Create(ctx, filepath.Join(t.TempDir(), "Data.fs"), zwrite.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	txn, err := db.Begin(ctx, zwrite.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	f := NewFile(txn, 8, "abc")
	f.SetData(txn, "b", []byte("bbb\x00"))
	if err := f.PutText(txn, "T2/B0:a-B2:b,3:b"); err != nil {
		t.Fatal(err)
	}
	if err := f.PutText(txn, "T/B0:x"); err == nil {
		t.Error("a value that there is not was stored")
	}
	src := bigfile.Direct{Direct: btree.Direct{Loader: loader{txn}}}
	file, _, err := src.File(ctx, zodb.Xid{Oid: f.Oid})
	if err != nil {
		t.Fatal(err)
	}
	if size, _, err := bigfile.Size(ctx, src, file, 0); err != nil || size != 4*8 {
		t.Errorf("size %d, %v", size, err)
	}
	found, err := btree.Lookup(ctx, src, file.Table, 0, 3)
	if err != nil || found.Value != f.Block("b") {
		t.Fatalf("%v, %v", found, err)
	}
	if block, err := bigfile.LoadBlock(ctx, loader{txn}, found.Value, 0, 8); err != nil || string(block.Data) != "bbb" {
		t.Errorf("%v", err)
	}
	f.Delete(txn)
	if _, _, err := src.File(ctx, zodb.Xid{Oid: f.Oid}); !storage.IsNoData(err) {
		t.Errorf("deleted file: %v", err)
	}
	f.Create(txn)
	if _, _, err := src.File(ctx, zodb.Xid{Oid: f.Oid}); err != nil {
		t.Error(err)
	}
}
