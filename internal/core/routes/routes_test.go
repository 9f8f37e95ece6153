package routes

import (
	"context"
	"fmt"
	"math"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"
	"pgregory.net/rapid"

	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	file zodb.Oid = 1 + iota
	root
	left
	right
)

// table is all versions of the nodes of a table with a root of two leaves.
type table struct {
	versions map[zodb.Oid][]version // ascending
	damaged  map[zodb.Xid]bool      // by oid and serial
	loads    int
}

type version struct {
	serial zodb.Tid
	node   *btree.Node
}

func (d *table) at(oid zodb.Oid, at zodb.Tid) version {
	all := d.versions[oid]
	if i := sort.Search(len(all), func(i int) bool { return all[i].serial > at }); i > 0 {
		return all[i-1]
	}
	return version{0, btree.Empty}
}

func (d *table) Node(_ context.Context, xid zodb.Xid) (*btree.Node, zodb.Tid, error) {
	d.loads++
	v := d.at(xid.Oid, xid.At)
	if d.damaged[zodb.Xid{Oid: xid.Oid, At: v.serial}] {
		return nil, 0, &storage.CorruptError{Oid: xid.Oid, Tid: v.serial}
	}
	return v.node, v.serial, nil
}

func (d *table) put(t require.TestingT, oid zodb.Oid, tid zodb.Tid, data []byte) {
	node, err := btree.Decode(data)
	require.NoError(t, err)
	d.versions[oid] = append(d.versions[oid], version{tid, node})
}

// leaf is a leaf with some of the keys 0 to 7.
func leaf(t *rapid.T) []byte {
	var keys []int64
	var refs []btree.Ref
	for key := range int64(8) {
		if value := rapid.IntRange(0, 2).Draw(t, "value"); value > 0 {
			keys, refs = append(keys, key), append(refs, btree.Ref{Oid: zodb.Oid(100 + value), Class: record.ZBlk0})
		}
	}
	return btree.EncodeBucket(btree.LO, keys, refs, 0)
}

// path is the way to a key as of a view.
func (d *table) path(key int64, at zodb.Tid) []btree.Step {
	r := d.at(root, at)
	steps := []btree.Step{{Oid: file, Serial: 1}, {Oid: root, Serial: r.serial}}
	child, lo, hi := r.node.Child(r.node.Route(key), math.MinInt64, math.MaxInt64)
	steps = append(steps, btree.Step{Oid: child, Serial: d.at(child, at).serial, Lo: lo, Hi: hi})
	return steps
}

// leads returns to what a node leads a key.
func leads(n *btree.Node, key int64) string {
	if n.Leaf() {
		value, ok := n.Get(key)
		return fmt.Sprint(value, ok)
	}
	return fmt.Sprint(n.Child(n.Route(key), math.MinInt64, math.MaxInt64))
}

// newest is Newest by looking at all versions.
func (d *table) newest(key int64, at, stop zodb.Tid) (newest zodb.Tid) {
	for _, step := range d.path(key, at)[1:] {
		for _, v := range d.versions[step.Oid] {
			was := d.at(step.Oid, v.serial-1)
			if stop < v.serial && v.serial <= at && (d.damaged[zodb.Xid{Oid: step.Oid, At: was.serial}] || leads(was.node, key) != leads(v.node, key)) {
				newest = max(newest, v.serial)
			}
		}
	}
	if newest == 0 && stop < 1 {
		return 1 // of the file
	}
	return newest
}

// TestNewestIsWhatAllVersionsSay, however little of what was found out can be remembered.
func TestNewestIsWhatAllVersionsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &table{versions: make(map[zodb.Oid][]version), damaged: make(map[zodb.Xid]bool)}
		last := zodb.Tid(2)
		for _, oid := range []zodb.Oid{left, right} {
			d.put(t, oid, last, leaf(t))
		}
		d.put(t, root, last, btree.EncodeTree(btree.LO, false, []zodb.Oid{left, right}, []int64{4}, left))
		for range rapid.IntRange(0, 20).Draw(t, "transactions") {
			last += zodb.Tid(rapid.IntRange(1, 3).Draw(t, "pause"))
			switch oid := rapid.SampledFrom([]zodb.Oid{left, right, root}).Draw(t, "oid"); oid {
			case root:
				d.put(t, root, last, btree.EncodeTree(btree.LO, false, []zodb.Oid{left, right}, []int64{rapid.Int64Range(1, 7).Draw(t, "bound")}, left))
			default:
				d.put(t, oid, last, leaf(t))
			}
		}
		r := New(d, rapid.SampledFrom([]int{0, 30, 200, 1 << 20}).Draw(t, "budget"))
		for range 50 {
			key := rapid.Int64Range(0, 7).Draw(t, "key")
			at := zodb.Tid(rapid.IntRange(2, int(last)).Draw(t, "at"))
			stop := zodb.Tid(rapid.IntRange(0, int(at)).Draw(t, "stop"))
			got, err := r.Newest(t.Context(), d.path(key, at), key, at, stop)
			require.NoError(t, err)
			require.Equal(t, d.newest(key, at, stop), got, "key %d @%d, after @%d", key, at, stop)
			if rapid.IntRange(0, 20).Draw(t, "forget") == 0 {
				r.Forget()
			}
		}
	})
}

// TestNeighboursShareWhatWasFoundOut: a leaf is compared once for all of its keys.
func TestNeighboursShareWhatWasFoundOut(t *testing.T) {
	d := &table{versions: make(map[zodb.Oid][]version)}
	encode := func(zblk zodb.Oid) []byte {
		refs := []btree.Ref{{Oid: zblk, Class: record.ZBlk0}, {Oid: 7, Class: record.ZBlk0}, {Oid: 8, Class: record.ZBlk0}}
		return btree.EncodeBucket(btree.LO, []int64{0, 1, 2}, refs, 0)
	}
	d.put(t, root, 2, btree.EncodeTree(btree.LO, false, []zodb.Oid{left}, nil, left))
	for tid := zodb.Tid(2); tid < 100; tid++ {
		d.put(t, left, tid, encode(zodb.Oid(1000+tid)))
	}
	r := New(d, 1<<20)
	var loads [3]int
	for key := range int64(3) {
		before := d.loads
		got, err := r.Newest(t.Context(), d.path(key, 99), key, 99, 1)
		require.NoError(t, err)
		require.EqualValues(t, []zodb.Tid{99, 2, 2}[key], got)
		loads[key] = d.loads - before
	}
	require.Greater(t, loads[1], 100)
	require.Zero(t, loads[2])
}

// TestDamageOfAVersionMayHaveBeenAnything: the transaction that mended it counts as a
// change of every key.
func TestDamageOfAVersionMayHaveBeenAnything(t *testing.T) {
	d := &table{versions: make(map[zodb.Oid][]version), damaged: map[zodb.Xid]bool{{Oid: left, At: 5}: true}}
	same := btree.EncodeBucket(btree.LO, []int64{0}, []btree.Ref{{Oid: 7, Class: record.ZBlk0}}, 0)
	d.put(t, root, 2, btree.EncodeTree(btree.LO, false, []zodb.Oid{left}, nil, left))
	for _, tid := range []zodb.Tid{2, 5, 9} {
		d.put(t, left, tid, same)
	}
	got, err := New(d, 1<<20).Newest(t.Context(), d.path(0, 10), 0, 10, 2)
	require.NoError(t, err)
	require.EqualValues(t, 9, got)
}
