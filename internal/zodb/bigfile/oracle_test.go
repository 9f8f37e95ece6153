package bigfile_test

import (
	"context"
	"fmt"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/t/oracle"
)

// open opens a test database.
func open(t testing.TB, path string) storage.Storage {
	t.Helper()
	url, err := storage.ParseURL("file://" + path)
	if err != nil {
		t.Fatal(err)
	}
	stor, _, err := fs1.Open(context.Background(), url, storage.Options{Warnf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stor.Close(); err != nil {
			t.Error(err)
		}
	})
	return stor
}

func TestEveryBlockAtEveryTransactionIsWhatPythonWrote(t *testing.T) {
	for _, name := range oracle.All(t) {
		t.Run(name, func(t *testing.T) {
			db := oracle.Load(t, name)
			stor := open(t, db.Path)
			nblk := 0
			for i, txn := range db.Txns {
				if testing.Short() && len(db.Txns) > 40 && i%3 != 0 {
					continue
				}
				for fname, want := range txn.Files {
					n, err := checkFile(stor, db.Files[fname], txn.Tid, want)
					if err != nil {
						t.Errorf("%s @%s: %s", fname, txn.Tid, err)
					}
					nblk += n
				}
			}
			t.Logf("%d transactions, %d blocks", len(db.Txns), nblk)
		})
	}
}

// checkFile compares a file at a view with what it must be. It returns the
// number of blocks compared.
func checkFile(stor storage.Loader, file oracle.File, at zodb.Tid, want oracle.FileState) (int, error) {
	ctx := context.Background()
	src := bigfile.Direct{Direct: btree.Direct{Loader: stor}}
	f, _, err := src.File(ctx, zodb.Xid{At: at, Oid: file.Oid})
	if err != nil {
		return 0, err
	}
	if f.BlkSize != file.BlkSize {
		return 0, fmt.Errorf("blksize %d; want %d", f.BlkSize, file.BlkSize)
	}
	size, _, err := bigfile.Size(ctx, src, f, at)
	if err != nil || size != want.Size {
		return 0, fmt.Errorf("size %d, %v; want %d", size, err, want.Size)
	}
	found := 0
	err = btree.Items(ctx, src, f.Table, at, 0, size/f.BlkSize-1, func(blk int64, zblk zodb.Oid) error {
		block, err := bigfile.LoadBlock(ctx, stor, zblk, at, f.BlkSize)
		if err != nil {
			return fmt.Errorf("block #%d: %w", blk, err)
		}
		defer block.Release()
		if n := len(block.Data); n > 0 && block.Data[n-1] == 0 {
			return fmt.Errorf("block #%d: %d bytes end with zero", blk, n)
		}
		if block.Serial == 0 || block.Serial > at {
			return fmt.Errorf("block #%d: serial %s", blk, block.Serial)
		}
		if want.Blk == nil {
			return nil
		}
		sum, ok := want.Blk[blk]
		if ok {
			found++
		}
		if zero := len(block.Data) == 0; !ok && !zero || ok && sum != oracle.SumBlock(block.Data, f.BlkSize) {
			return fmt.Errorf("block #%d: wrong data", blk)
		}
		return nil
	})
	if err == nil && want.Blk != nil && found != len(want.Blk) {
		err = fmt.Errorf("found %d blocks of %d", found, len(want.Blk))
	}
	return found, err
}
