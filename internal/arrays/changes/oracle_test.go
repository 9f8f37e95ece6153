package changes

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fs1"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/t/oracle"
)

// openFile opens a FileStorage database.
func openFile(t testing.TB, path string) (db Database, head zodb.Tid) {
	t.Helper()
	u, err := storage.ParseURL("file://" + path)
	require.NoError(t, err)
	store, head, err := fs1.Open(ctx, u, storage.Options{Warnf: t.Logf})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store.(Database), head
}

// TestEveryTransactionOfPythonIsTold: of databases that ZODB wrote, each
// transaction is told with all blocks that read differently after it, and with
// the blocks, sizes and events that brute force finds.
func TestEveryTransactionOfPythonIsTold(t *testing.T) {
	for _, name := range []string{"basic", "packed", "topo", "bigtree"} {
		t.Run(name, func(t *testing.T) {
			ora := oracle.Load(t, name)
			db, head := openFile(t, ora.Path)
			for _, fname := range slices.Sorted(maps.Keys(ora.Files)) {
				for _, lo := range []zodb.Tid{0, ora.Txns[0].Tid, ora.Txns[len(ora.Txns)/2].Tid} {
					checkOracle(t, db, ora, fname, collect(t, db, 0, ora.Files[fname].Oid, lo, head), lo)
				}
			}
		})
	}
}

func checkOracle(t *testing.T, db Database, ora *oracle.DB, fname string, changes []*Change, lo zodb.Tid) {
	file := ora.Files[fname]
	byTid := make(map[zodb.Tid]*Change)
	for _, c := range changes {
		byTid[c.Tid] = c
	}
	for i, txn := range ora.Txns {
		if txn.Tid <= lo || i == 0 {
			continue // what was before the first one is not in the oracle
		}
		got := byTid[txn.Tid]
		if got == nil {
			got = &Change{}
		}
		a, b := ora.Txns[i-1].Files[fname], txn.Files[fname]
		requireCovers(t, got, differing(a, b, file.BlkSize), fname, txn.Tid)
		require.NoError(t, got.Damage)
		if got.Tid == 0 {
			require.Equal(t, a.Size, b.Size)
			continue
		}
		require.Equal(t, []int64{a.Size, b.Size}, []int64{got.OldSize, got.NewSize}, "%s @%s", fname, txn.Tid)
	}
	if lo == ora.Txns[0].Tid {
		checkMappings(t, db, ora, file, byTid, lo)
	}
}

// checkMappings compares with the mappings and serials of all blocks.
func checkMappings(t *testing.T, db Database, ora *oracle.DB, file oracle.File, got map[zodb.Tid]*Change, lo zodb.Tid) {
	nblk := int64(0)
	for _, txn := range ora.Txns {
		for _, f := range txn.Files {
			nblk = max(nblk, f.Size/file.BlkSize+1)
		}
	}
	step := 1
	if nblk > 1000 {
		step = 97 // looking up thousands of blocks for every transaction takes long
	}
	var was *view
	for i := 1; i < len(ora.Txns); i += step {
		txn := ora.Txns[i]
		if txn.Tid <= lo {
			continue
		}
		stored := make(map[zodb.Oid]bool)
		for _, oid := range txn.Oids {
			stored[oid] = true
		}
		if was == nil || step > 1 {
			was = viewAt(t, db, 0, file.Oid, txn.Tid-1, nblk)
		}
		is := viewAt(t, db, 0, file.Oid, txn.Tid, nblk)
		was.array, is.array = nil, nil // the root object
		want := compare(was, is, stored)
		was = is
		c := got[txn.Tid]
		if c == nil {
			require.True(t, want.Empty(), "@%s: %+v", txn.Tid, want)
			continue
		}
		want.Tid, want.User, want.Description = c.Tid, c.User, c.Description
		requireSame(t, want, c, "@%s", txn.Tid)
	}
}

// TestDifferenceOfPythonDatabasesIsThatOfTheirContent compares Diff of many pairs
// of views with what the blocks read as.
func TestDifferenceOfPythonDatabasesIsThatOfTheirContent(t *testing.T) {
	for _, name := range []string{"basic", "packed", "topo"} {
		t.Run(name, func(t *testing.T) {
			ora := oracle.Load(t, name)
			db, _ := openFile(t, ora.Path)
			for fname, file := range ora.Files {
				for i := 0; i < len(ora.Txns); i++ {
					for j := i; j < len(ora.Txns); j += 3 {
						a, b := ora.Txns[i], ora.Txns[j]
						got, err := Diff(ctx, db, 0, file.Oid, b.Tid, a.Tid)
						require.NoError(t, err)
						fa, fb := a.Files[fname], b.Files[fname]
						requireCovers(t, got, differing(fa, fb, file.BlkSize), fname, a.Tid, b.Tid)
						require.Equal(t, []int64{fa.Size, fb.Size}, []int64{got.OldSize, got.NewSize})
						if i == j {
							require.True(t, got.Empty())
						}
					}
				}
			}
		})
	}
}

// differing returns the blocks that read differently, as far as it is known how
// they read.
func differing(a, b oracle.FileState, blksize int64) (blks []int64) {
	if a.Blk == nil && a.Size > 0 || b.Blk == nil && b.Size > 0 {
		return nil
	}
	for blk := range max(a.Size, b.Size) / blksize {
		if a.Blk[blk] != b.Blk[blk] {
			blks = append(blks, blk)
		}
	}
	return blks
}
