package btree

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/t/oracle"
)

// TestEditsGiveTheTreesOfBTrees repeats all that was done to the trees of
// databases that were written by BTrees, and compares the trees after every
// transaction: their shape, and which objects of the tree were stored.
func TestEditsGiveTheTreesOfBTrees(t *testing.T) {
	files := map[string]string{"bigtree": "big", "basic": ""}
	if testing.Short() {
		delete(files, "bigtree")
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			db := oracle.Load(t, name)
			tables := make(map[zodb.Oid]*replay)
			real := newEditTxn()
			recs := db.Records(t)
			for len(recs) > 0 {
				tid := recs[0].Tid
				clear(real.stored)
				for len(recs) > 0 && recs[0].Tid == tid {
					real.Store(recs[0].Oid, recs[0].Data)
					recs = recs[1:]
				}
				for name, f := range db.Files {
					if data, ok := real.recs[f.Oid]; ok && (file == "" || name == file) {
						table := tableOf(t, data)
						if tables[table] == nil {
							tables[table] = newReplay(table)
						}
						tables[table].step(t, real, tid)
					}
				}
			}
			if len(tables) == 0 {
				t.Fatal("no tree was compared")
			}
			for oid, r := range tables {
				t.Logf("table %s: %d steps, %d sets, %d deletes, %d node stores", oid, r.steps, r.sets, r.deletes, r.stores)
			}
		})
	}
}

func tableOf(t testing.TB, data []byte) (table zodb.Oid) {
	err := record.Decode(data, func(_ record.Class, state record.Value) error {
		table, _ = state.At(1).Ref()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// replay is one tree that is written again.
type replay struct {
	table                        zodb.Oid
	txn                          *editTxn
	e                            *Editor
	steps, sets, deletes, stores int
}

func newReplay(table zodb.Oid) *replay {
	txn := newEditTxn()
	txn.last = table - 1
	r := &replay{table: table, txn: txn, e: NewTree(txn, LO)}
	txn.last = 1 << 40
	r.e.Flush()
	return r
}

func (r *replay) step(t testing.TB, real *editTxn, tid zodb.Tid) {
	t.Helper()
	r.e = mustEdit(t, r.txn, LO, r.table)
	want := itemsOf(t, mustEdit(t, real, LO, r.table))
	have := itemsOf(t, r.e)
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[key]; !ok {
			r.deletes++
			if ok, err := r.e.Delete(key); err != nil || !ok {
				t.Fatal(err)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if have[key] != want[key] {
			r.sets++
			if err := r.e.Set(key, want[key]); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.e.Flush()
	r.steps++
	r.stores += len(r.txn.stored)
	if got, want := shapeOf(t, r.txn, r.table), shapeOf(t, real, r.table); got != want {
		t.Fatalf("@%s:\ngot  %s\nwant %s", tid, got, want)
	}
	if got, want := r.storedNodes(t, r.txn), r.storedNodes(t, real); got != want {
		t.Fatalf("@%s: nodes stored:\ngot  %s\nwant %s", tid, got, want)
	}
	clear(r.txn.stored)
}

// storedNodes describes by their keys the nodes of the tree that a transaction
// stored.
func (r *replay) storedNodes(t testing.TB, txn *editTxn) string {
	e := mustEdit(t, txn, LO, r.table)
	if err := e.CheckInvariants(); err != nil { // loads all
		t.Fatal(err)
	}
	var nodes []string
	for oid, n := range e.nodes {
		if txn.stored[oid] {
			nodes = append(nodes, fmt.Sprint(n.tree, n.keys))
		}
	}
	slices.Sort(nodes)
	return fmt.Sprint(nodes)
}
