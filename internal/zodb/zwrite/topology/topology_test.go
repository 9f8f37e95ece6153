package topology

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
	"github.com/wcfs/wcfs/internal/zodb/zwrite"
)

var texts = []string{
	"T/B1:a,2:b", "T/B:", "T", "ø", "T2/B1:a-B2:c", "T2,4,6/B1:a-B2:b,3:c-B4:d,5:e-B6:f,7:g",
	"T4/T2-T7/B1:a-B2:b,3:c-B4:d,5:e-B8:h,9:i", "T/T/B1:a,2:b", "T1/T-T3/B0:g-T-T/B1:e,2:d-B3:h",
	"T4/T2-T/T-T-T6,10/B1:a-B3:b-T-T-T/T-B7:c-B11:d/B5:e",
	"T3/T2-T5/T-T-T-T/B1:a-B2:b-B3:c,4:d-T/B5:e",
	"T2/T1-T/T-T-B2:a/B0:c-B1:g", "T4/T1,3-T/T-T-T-T/B0:b-B1:c,2:j-T-B4:d/B3:h",
}

func values(name string) btree.Ref {
	return btree.Ref{Oid: 100 + zodb.Oid(name[0]), Class: record.ZBlk0}
}

func TestParsedTextIsPrintedTheSame(t *testing.T) {
	for _, text := range texts {
		n, err := Parse(text)
		if err != nil || n.String() != text {
			t.Errorf("%q: %q, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "B1:a", "T/", "T-T/B:-B:", "T1/B:", "T/B:-B:", "T/T", "T1/T-B1:a/B0:a", "T2,1/B:-B:-B:", "T/B1:a,1:b", "T/B1", "T/B-1:a", "T/X", "TT"} {
		if n, err := Parse(text); err == nil {
			t.Errorf("%q was parsed as %q", text, n)
		}
	}
}

// TestStoredTreesReadAsTheirText stores trees one after another with all
// strategies, and reads them with the readers of package btree.
func TestStoredTreesReadAsTheirText(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, reuse := range []Reuse{Place, Fresh, Shuffle} {
		for _, inline := range []bool{false, true} {
			rnd := rand.New(rand.NewPCG(seed, 0))
			db, err := zwrite.Create(context.Background(), filepath.Join(t.TempDir(), "Data.fs"), zwrite.Options{NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			w := &Writer{Root: 1, Values: values, Reuse: reuse, Rnd: rnd, Inline: inline}
			if err := commit(t, db, w, "T"); err != nil {
				t.Fatal(err)
			}
			for range 60 {
				text := texts[rnd.IntN(len(texts))]
				if err := commit(t, db, w, text); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// commit stores a tree twice, and reads it.
func commit(t *testing.T, db *zwrite.DB, w *Writer, text string) error {
	t.Helper()
	txn, err := db.Begin(context.Background(), zwrite.Meta{})
	if err != nil {
		return err
	}
	if err := w.PutText(txn, text); err != nil {
		return err
	}
	check(t, txn, w, text)
	if _, err := txn.Commit(); err != nil {
		return err
	}
	return nil
}

type loader struct{ txn *zwrite.Txn }

func (l loader) Load(_ context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	data, serial, err := l.txn.Load(xid.Oid)
	if err != nil {
		return nil, 0, err
	}
	buf := storage.NewBuf(len(data))
	copy(buf.Data, data)
	return buf, serial, nil
}

func check(t *testing.T, txn *zwrite.Txn, w *Writer, text string) {
	t.Helper()
	n, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[int64]zodb.Oid)
	for key := range int64(20) {
		if value := n.Lookup(key); value != "" {
			want[key] = values(value).Oid
		}
	}
	got := make(map[int64]zodb.Oid)
	err = btree.Items(context.Background(), btree.Direct{Loader: loader{txn}}, w.Root, 1, math.MinInt64, math.MaxInt64, func(key int64, value zodb.Oid) error {
		got[key] = value
		return nil
	})
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("%q: %v; got %v, want %v", text, err, got, want)
	}
	if n == nil {
		return
	}
	e, err := btree.Edit(txn, btree.LO, w.Root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Shape(); err != nil {
		t.Fatal(err)
	}
}

// TestUnchangedNodesAreNotStored looks at what a second transaction writes.
func TestUnchangedNodesAreNotStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "Data.fs")
	db, err := zwrite.Create(context.Background(), path, zwrite.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := &Writer{Root: 50, Values: values}
	if err := commit(t, db, w, "T2,4/B1:a-B2:b,3:c-B4:d,5:e"); err != nil {
		t.Fatal(err)
	}
	txn, err := db.Begin(context.Background(), zwrite.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	counting := &counter{Txn: txn}
	if err := w.PutText(counting, "T2,4/B1:a-B2:b,3:d-B4:d,5:e"); err != nil {
		t.Fatal(err)
	}
	if counting.stored != 1 {
		t.Errorf("%d nodes were stored", counting.stored)
	}
	txn.Abort()
}

type counter struct {
	*zwrite.Txn
	stored int
}

func (c *counter) Store(oid zodb.Oid, data []byte) {
	c.stored++
	c.Txn.Store(oid, data)
}
