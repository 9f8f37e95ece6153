package btree

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/t/oracle"
)

// editTxn is a transaction on a database in memory.
type editTxn struct {
	recs   records
	last   zodb.Oid
	stored map[zodb.Oid]bool
}

func newEditTxn() *editTxn {
	return &editTxn{recs: records{}, last: 1 << 20, stored: make(map[zodb.Oid]bool)}
}

func (t *editTxn) New() zodb.Oid {
	t.last++
	return t.last
}

func (t *editTxn) Load(oid zodb.Oid) ([]byte, zodb.Tid, error) {
	data, ok := t.recs[oid]
	if !ok {
		return nil, 0, &zodb.NoObjectError{Oid: oid}
	}
	return data, 1, nil
}

func (t *editTxn) Store(oid zodb.Oid, data []byte) {
	t.recs[oid] = data
	t.stored[oid] = true
}

func mustEdit(t testing.TB, txn Txn, family Family, root zodb.Oid) *Editor {
	t.Helper()
	e, err := Edit(txn, family, root)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func shapeOf(t testing.TB, txn Txn, root zodb.Oid) string {
	t.Helper()
	shape, err := mustEdit(t, txn, LO, root).Shape()
	if err != nil {
		t.Fatal(err)
	}
	return shape
}

// itemsOf returns all keys with their values.
func itemsOf(t testing.TB, e *Editor) map[int64]Ref {
	t.Helper()
	items := make(map[int64]Ref)
	if err := e.Items(func(key int64, value Ref) error { items[key] = value; return nil }); err != nil {
		t.Fatal(err)
	}
	return items
}

func TestRecordsOfUnchangedTreesAreWrittenBackTheSame(t *testing.T) {
	count := 0
	for _, name := range []string{"basic", "bigtree", "topo", "packed"} {
		db := oracle.Load(t, name)
		for _, rec := range db.Records(t) {
			class, err := record.ClassOf(rec.Data)
			if err != nil {
				t.Fatal(err)
			}
			family := LO
			switch class {
			case record.IOBTree, record.IOBucket:
				family = IO
			case record.LOBTree, record.LOBucket:
			default:
				continue
			}
			txn := newEditTxn()
			txn.recs[rec.Oid] = rec.Data
			e := newEditor(txn, integerKeys(family))
			n := e.node(rec.Oid)
			if err := e.load(n); err != nil {
				t.Fatal(err)
			}
			e.root = n
			e.change(n)
			e.Flush()
			if !bytes.Equal(txn.recs[rec.Oid], rec.Data) {
				t.Fatalf("%s: %s @%s:\ngot  %q\nwant %q", name, rec.Oid, rec.Tid, txn.recs[rec.Oid], rec.Data)
			}
			count++
		}
	}
	t.Logf("%d records", count)
}

// TestRandomEditsAgreeWithAMap also checks that readers see the same.
func TestRandomEditsAgreeWithAMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, family := range []Family{LO, IO} {
		for _, span := range []int64{5, 200, 5000} {
			testRandomEdits(t, rnd, family, span)
		}
	}
}

func testRandomEdits(t *testing.T, rnd *rand.Rand, family Family, span int64) {
	txn := newEditTxn()
	e := NewTree(txn, family)
	root := e.Oid()
	want := make(map[int64]Ref)
	for round := range 120 {
		deletes := rnd.IntN(4) // of 4: tends to grow, or to shrink
		if round%40 > 30 {
			deletes = 4
		}
		from := rnd.Int64N(span) - span/2
		for i := range rnd.Int64N(span/3 + 3) {
			key := rnd.Int64N(span) - span/2
			if round%3 == 0 {
				key = from + i // a run of keys, which empties whole buckets
			}
			if rnd.IntN(4) < deletes {
				ok, err := e.Delete(key)
				if _, had := want[key]; err != nil || ok != had {
					t.Fatalf("delete %d: %v, %v", key, ok, err)
				}
				delete(want, key)
				continue
			}
			want[key] = Ref{zodb.Oid(1 + rnd.IntN(1000)), record.ZBlk0}
			if err := e.Set(key, want[key]); err != nil {
				t.Fatal(err)
			}
		}
		if rnd.IntN(20) == 0 {
			e.Clear()
			clear(want)
		}
		e.Flush()
		if rnd.IntN(2) == 0 {
			e = mustEdit(t, txn, family, root)
		}
		checkEdited(t, e, txn, want)
	}
}

// checkEdited compares the tree in memory, and what readers make of its
// records, with want.
func checkEdited(t *testing.T, e *Editor, txn *editTxn, want map[int64]Ref) {
	t.Helper()
	if err := e.CheckInvariants(); err != nil {
		t.Fatal(err)
	}
	if got := itemsOf(t, e); !maps.Equal(got, want) {
		t.Fatalf("items: got %v; want %v", got, want)
	}
	family := LO
	if e.Ref().Class == record.IOBTree {
		family = IO
	}
	stored := mustEdit(t, txn, family, e.Oid())
	if err := stored.CheckInvariants(); err != nil {
		t.Fatalf("stored: %s", err)
	}
	got := make(map[int64]Ref)
	last := int64(0)
	err := Items(ctx, Direct{txn.recs}, e.Oid(), 1, -1<<63, 1<<63-1, func(key int64, value zodb.Oid) error {
		got[key] = Ref{value, record.ZBlk0}
		last = key
		return nil
	})
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("read: %v; got %v; want %v", err, got, want)
	}
	if key, ok, err := e.MaxKey(); err != nil || ok != (len(want) > 0) || key != last {
		t.Fatalf("max key: %d %v %v; want %d", key, ok, err, last)
	}
}

// TestRootSplitKeepsItsOid appends until the root has too many children.
func TestRootSplitKeepsItsOid(t *testing.T) {
	txn := newEditTxn()
	e := NewTree(txn, LO)
	root := e.Oid()
	// A bucket is split when it gets key 61, and 30 stay in it.
	n := int64((2*MaxTreeLen-1)*30 + 31 - 1)
	for key := range n {
		if err := e.Set(key, Ref{7, record.ZBlk0}); err != nil {
			t.Fatal(err)
		}
	}
	if len(e.root.kids) != 2*MaxTreeLen-1 || e.root.kids[0].tree {
		t.Fatalf("%d children before the split", len(e.root.kids))
	}
	e.Flush()
	clear(txn.stored)
	for ; len(e.root.kids) != 2; n++ {
		if err := e.Set(n, Ref{7, record.ZBlk0}); err != nil {
			t.Fatal(err)
		}
	}
	e.Flush()
	left, right := e.root.kids[0], e.root.kids[1]
	if e.Oid() != root || len(left.kids) != MaxTreeLen || len(right.kids) != MaxTreeLen || e.root.keys[0] != MaxTreeLen*30 {
		t.Fatalf("root %s: %d and %d children, separators %v", e.Oid(), len(left.kids), len(right.kids), e.root.keys)
	}
	if len(txn.stored) != 5 { // root, two new nodes, the split bucket and its other half
		t.Errorf("%d nodes were stored", len(txn.stored))
	}
	if err := mustEdit(t, txn, LO, root).CheckInvariants(); err != nil {
		t.Fatal(err)
	}
	// An inner node is split when it has one child too many.
	for ; len(e.root.kids) != 3; n++ {
		if err := e.Set(n, Ref{7, record.ZBlk0}); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := len(e.root.kids[1].kids), len(e.root.kids[2].kids); a != 250 || b != 251 {
		t.Fatalf("split into %d and %d", a, b)
	}
	if err := e.CheckInvariants(); err != nil {
		t.Fatal(err)
	}
	// Empty it from the left: first buckets change on all levels.
	for key := range n {
		if ok, err := e.Delete(key); !ok || err != nil {
			t.Fatal(key, ok, err)
		}
		if key%997 == 0 || n-key < 130 {
			if err := e.CheckInvariants(); err != nil {
				t.Fatalf("after %d: %s", key, err)
			}
		}
	}
	e.Flush()
	if data, _, _ := txn.Load(root); !bytes.Equal(data, EncodeEmpty(LO)) {
		t.Fatalf("%q", data)
	}
}

func TestOneBucketIsKeptInTheRootUntilItIsSplit(t *testing.T) {
	txn := newEditTxn()
	e := NewTree(txn, LO)
	set := func(from, to int64) {
		for key := from; key < to; key++ {
			if err := e.Set(key, Ref{7, record.ZBlk0}); err != nil {
				t.Fatal(err)
			}
		}
		e.Flush()
	}
	set(0, MaxBucketLen)
	if len(txn.recs) != 1 {
		t.Fatalf("%d objects", len(txn.recs))
	}
	set(MaxBucketLen, MaxBucketLen+1)
	if len(txn.recs) != 3 {
		t.Fatalf("%d objects", len(txn.recs))
	}
	for key := range int64(30) {
		if _, err := e.Delete(key); err != nil {
			t.Fatal(err)
		}
	}
	e.Flush()
	// The bucket that is left has an oid and keeps it.
	if data, _, _ := txn.Load(e.Oid()); !bytes.Equal(data, EncodeTree(LO, false, []zodb.Oid{e.Oid() + 2}, nil, e.Oid()+2)) {
		t.Fatalf("%q", data)
	}
}

func TestEditRefusesWhatItCannotWriteBack(t *testing.T) {
	txn := newEditTxn()
	txn.recs[1] = EncodeBucket(LO, []int64{1}, []Ref{{7, record.ZBlk0}}, 0)
	txn.recs[2] = EncodeEmpty(IO)
	txn.recs[3] = EncodeTree(LO, true, []zodb.Oid{3}, nil, 3)
	for oid := range zodb.Oid(3) {
		if _, err := Edit(txn, LO, oid); err == nil {
			t.Errorf("%s was accepted", oid)
		} else {
			t.Log(err)
		}
	}
	e := mustEdit(t, txn, LO, 3)
	if err := e.Set(1, Ref{7, record.ZBlk0}); err == nil {
		t.Error("a tree that contains itself was edited")
	}
	io := mustEdit(t, txn, IO, 2)
	if err := io.Set(1<<31, Ref{7, record.ZData}); err == nil {
		t.Error("a key of 33 bits was set in an IOBTree")
	}
}
