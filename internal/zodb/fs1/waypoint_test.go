package fs1

import (
	"io"
	"math/rand/v2"
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
	"github.com/wcfs/wcfs/internal/zodb/storage/storagetest"
)

// countingReader counts reads.
type countingReader struct {
	io.ReaderAt
	n int
}

func (c *countingReader) ReadAt(b []byte, off int64) (int, error) {
	c.n++
	return c.ReaderAt.ReadAt(b, off)
}

// TestLoadsOfManyRevisionsAreNotAllWalks loads an object at random views, as it
// grows: the result is right, and after a first load from the beginning no load
// walks far.
func TestLoadsOfManyRevisionsAreNotAllWalks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const revisions = 2000
	r := newRig(t)
	for tid := zodb.Tid(2); tid <= revisions; tid++ {
		txn := put(tid, "text", 1)
		if rnd.IntN(3) == 0 {
			txn = put(tid, "text", 2)
		}
		r.commit(txn)
	}
	r.mustOpen()
	df := r.Storage.cur
	for i := range 3000 {
		at := 2 + zodb.Tid(rnd.IntN(revisions-1))
		if i == 0 {
			at = 2
		}
		xid := zodb.Xid{At: at, Oid: zodb.Oid(1 + rnd.IntN(2))}
		if err := storagetest.CheckLoad(r.ctx, r.Storage, r.model, xid); err != nil {
			t.Fatal(err)
		}
		p, ok, _ := df.lookup(xid)
		if !ok {
			t.Fatal("no object")
		}
		file := &countingReader{ReaderAt: df.f}
		ld := &loader{df: df, at: p, rec: fsformat.Cursor{F: file}}
		_, _ = ld.find(r.ctx, xid, p.pos)
		if file.n > 2*4*waypointEvery {
			t.Fatalf("%d reads for %s", file.n, xid)
		}
	}
	if df.ways.n > 2*revisions/waypointEvery {
		t.Errorf("%d records are remembered", df.ways.n)
	}
}

func TestWaypointsAreBounded(t *testing.T) {
	const objects = 1 << 14
	var w waypoints
	for i := range maxWaypoints + 10 {
		w.add(zodb.Oid(i%objects), waypoint{zodb.Tid(1 + i), int64(i)})
	}
	if w.n != 10 {
		t.Errorf("%d are remembered", w.n)
	}
	last := maxWaypoints + 9
	p, ok := w.near(zodb.Oid(last%objects), 1)
	if !ok || p.pos != int64(last) {
		t.Errorf("%v, %t", p, ok)
	}
	if p, ok := w.near(zodb.Oid(last%objects), zodb.Tid(last+2)); ok {
		t.Errorf("%v is older", p)
	}
}
