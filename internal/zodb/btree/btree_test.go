package btree

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/record"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var ctx = context.Background()

// records is a Loader of one view: everything has serial 1.
type records map[zodb.Oid][]byte

func (r records) Load(_ context.Context, xid zodb.Xid) (*storage.Buf, zodb.Tid, error) {
	data, ok := r[xid.Oid]
	if !ok {
		return nil, 0, &zodb.NoDataError{Oid: xid.Oid, DeletedAt: 7}
	}
	buf := storage.NewBuf(len(data))
	copy(buf.Data, data)
	return buf, 1, nil
}

// build is a state under construction, for all shapes right and wrong.
type build func(e *record.Encoder)

func none() build            { return (*record.Encoder).None }
func num(x int64) build      { return func(e *record.Encoder) { e.Int(x) } }
func ref(oid zodb.Oid) build { return func(e *record.Encoder) { e.Ref(oid, record.LOBucket) } }
func tuple(items ...build) build {
	return func(e *record.Encoder) {
		e.BeginTuple(len(items))
		for _, item := range items {
			item(e)
		}
		e.EndTuple(len(items))
	}
}

func encode(class record.Class, state build) []byte {
	var e record.Encoder
	e.Reset(class)
	state(&e)
	return e.Record()
}

// bucket is the state of a bucket; values are oids 1000 + key.
func bucket(keys ...int64) build {
	var items []build
	for _, key := range keys {
		items = append(items, num(key), ref(zodb.Oid(1000+key)))
	}
	return tuple(tuple(items...))
}

// inner is the state of a tree: child, separator, child, ...
func inner(items ...int64) build {
	var children []build
	for i, item := range items {
		if i%2 == 0 {
			children = append(children, ref(zodb.Oid(item)))
		} else {
			children = append(children, num(item))
		}
	}
	return tuple(tuple(children...), ref(1))
}

func TestDecodeKnowsAllNodeStates(t *testing.T) {
	type result struct {
		Family Family
		Leaf   bool
		Keys   []int64
		Oids   []zodb.Oid
	}
	py := func(c record.Class) record.Class { c.Name += "Py"; return c }
	for name, test := range map[string]struct {
		class record.Class
		state build
		want  result
	}{
		"empty tree":         {record.LOBTree, none(), result{LO, true, nil, nil}},
		"empty bucket":       {record.IOBucket, bucket(), result{IO, true, nil, nil}},
		"one pair":           {record.LOBucket, bucket(5), result{LO, true, []int64{5}, []zodb.Oid{1005}}},
		"bucket":             {record.LOBucket, bucket(-1, 0, 70000), result{LO, true, []int64{-1, 0, 70000}, []zodb.Oid{999, 1000, 71000}}},
		"bucket and next":    {record.LOBucket, tuple(tuple(num(1), ref(2)), ref(3)), result{LO, true, []int64{1}, []zodb.Oid{2}}},
		"embedded bucket":    {record.IOBTree, tuple(tuple(bucket(0, 4096))), result{IO, true, []int64{0, 4096}, []zodb.Oid{1000, 5096}}},
		"embedded, empty":    {record.LOBTree, tuple(tuple(bucket())), result{LO, true, nil, nil}},
		"single child":       {record.LOBTree, inner(7), result{LO, false, nil, []zodb.Oid{7}}},
		"two children":       {record.LOBTree, inner(7, 10, 8), result{LO, false, []int64{10}, []zodb.Oid{7, 8}}},
		"pure Python tree":   {py(record.LOBTree), inner(7, 10, 8), result{LO, false, []int64{10}, []zodb.Oid{7, 8}}},
		"pure Python bucket": {py(record.IOBucket), bucket(1), result{IO, true, []int64{1}, []zodb.Oid{1001}}},
	} {
		n, err := Decode(encode(test.class, test.state))
		if err != nil {
			t.Errorf("%s: %s", name, err)
			continue
		}
		got := result{n.Family(), n.Leaf(), append([]int64(nil), n.Keys()...), append([]zodb.Oid(nil), n.Oids()...)}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	n, err := Decode(encode(record.LOBucket, tuple(tuple(num(math.MinInt64), ref(1), num(math.MaxInt64), ref(math.MaxUint64)))))
	if err != nil || !slices.Equal(n.Keys(), []int64{math.MinInt64, math.MaxInt64}) || n.Oids()[1] != math.MaxUint64 {
		t.Errorf("%+v, %v", n, err)
	}
}

func TestDecodeRefusesWhatIsNoNode(t *testing.T) {
	for want, data := range map[string][]byte{
		"expect a LOBTree or IOBTree; got BTrees.OOBTree.OOBTree":                      encode(record.Class{Module: "BTrees.OOBTree", Name: "OOBTree"}, none()),
		"expect a LOBTree or IOBTree; got BTrees.LOBTree.LOTreeSet":                    encode(record.Class{Module: "BTrees.LOBTree", Name: "LOTreeSet"}, none()),
		"expect a LOBTree or IOBTree; got BTrees.LOBTree.IOBucket":                     encode(record.Class{Module: "BTrees.LOBTree", Name: "IOBucket"}, bucket()),
		"state of a bucket: expect ((items),) or ((items), next); got None":            encode(record.LOBucket, none()),
		"state of a bucket: expect ((items),) or ((items), next); got 5":               encode(record.LOBucket, num(5)),
		"next bucket: expect a reference; got None":                                    encode(record.LOBucket, tuple(tuple(), none())),
		"items of a bucket: expect keys and values; got 1 items":                       encode(record.LOBucket, tuple(tuple(num(1)))),
		"key #1: 5 after 5: keys do not ascend":                                        encode(record.LOBucket, bucket(5, 5)),
		"key #1: 4 after 5: keys do not ascend":                                        encode(record.IOBTree, inner(1, 5, 2, 4, 3)),
		"key #0: expect an integer of 32 bits; got 2147483648":                         encode(record.IOBucket, bucket(1<<31)),
		"key #0: expect an integer of 64 bits; got None":                               encode(record.LOBucket, tuple(tuple(none(), ref(1)))),
		"item #0: expect a reference; got 7":                                           encode(record.LOBucket, tuple(tuple(num(1), num(7)))),
		"item #0: expect a reference; got [1]()":                                       encode(record.LOBTree, tuple(tuple(bucket()), ref(2))),
		"children of a tree: expect an odd number of items; got 2":                     encode(record.LOBTree, tuple(tuple(ref(1), num(1)), ref(2))),
		"children of a tree: expect an odd number of items; got 0":                     encode(record.LOBTree, tuple(tuple(), ref(2))),
		"first bucket of a tree: expect a reference; got None":                         encode(record.LOBTree, tuple(tuple(ref(1)), none())),
		"state of a tree: expect None, ((bucket,),) or ((children), first); got [3]()": encode(record.LOBTree, tuple(tuple(ref(1)), ref(1), ref(1))),
		"state of a tree: expect None, ((bucket,),) or ((children), first); got [2]()": encode(record.LOBTree, tuple(num(1), ref(1))),
		"state of a tree: expect None, ((bucket,),) or ((children), first); got [1]()": encode(record.LOBTree, tuple(tuple())),
	} {
		n, err := Decode(data)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v (%+v)\nwant %s", err, n, want)
		}
	}
}

// sample is a tree of depth 3 with an embedded bucket, an empty leaf, a single
// child, a node that does not exist, and keys outside of the interval of a leaf.
func sample() records {
	return records{
		1: encode(record.LOBTree, inner(2, 10, 3, 20, 4, 30, 5)),
		2: encode(record.LOBTree, inner(6)),
		6: encode(record.LOBucket, bucket(-5, 1, 9, 10)),           // 10 is not there
		3: encode(record.LOBTree, tuple(tuple(bucket(9, 12, 15)))), // 9 is not there
		4: encode(record.LOBTree, inner(7, 25, 8)),
		7: encode(record.LOBTree, none()),
		8: encode(record.LOBucket, bucket(26)),
		// 5 does not exist
	}
}

var sampleKeys = []int64{-5, 1, 9, 12, 15, 26}

func TestLookupTellsValueAndPath(t *testing.T) {
	src := Direct{sample()}
	for key := int64(-10); key < 40; key++ {
		found, err := Lookup(ctx, src, 1, 1, key)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Contains(sampleKeys, key)
		if key == 9 || key == 10 { // which leaf has them is decided by the separator
			want = key == 9
		}
		if found.OK != want || found.OK && found.Value != zodb.Oid(1000+key) {
			t.Errorf("%d: %+v", key, found)
		}
	}
	found, err := Lookup(ctx, src, 1, 1, 22)
	const lo, hi = math.MinInt64, math.MaxInt64
	want := Found{Path: []Step{{Oid: 1, Serial: 1, Lo: lo, Hi: hi}, {Oid: 4, Serial: 1, Lo: 20, Hi: 29}, {Oid: 7, Serial: 1, Lo: 20, Hi: 24}}}
	if diff := cmp.Diff(want, found); diff != "" || err != nil {
		t.Error(diff, err)
	}
	found, err = Lookup(ctx, src, 1, 1, math.MaxInt64)
	want = Found{Path: []Step{{Oid: 1, Serial: 1, Lo: lo, Hi: hi}, {Oid: 5, Serial: 7, Lo: 30, Hi: hi, Missing: true}}}
	if diff := cmp.Diff(want, found); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestMaxKeyGoesLeftOfEmptyLeavesAndTellsAllNodes(t *testing.T) {
	recs := sample()
	check := func(wantKey int64, wantOK bool, wantPath ...zodb.Oid) {
		t.Helper()
		key, ok, path, err := MaxKey(ctx, Direct{recs}, 1, 1)
		var oids []zodb.Oid
		for _, step := range path {
			oids = append(oids, step.Oid)
		}
		if err != nil || ok != wantOK || key != wantKey || !slices.Equal(oids, wantPath) {
			t.Errorf("%d %v %v %v; want %d %v %v", key, ok, oids, err, wantKey, wantOK, wantPath)
		}
	}
	check(26, true, 1, 5, 4, 8)
	recs[8] = encode(record.LOBucket, bucket(19, 30)) // both outside
	check(15, true, 1, 5, 4, 8, 7, 3)
	recs[3] = encode(record.LOBTree, none())
	check(9, true, 1, 5, 4, 8, 7, 3, 2, 6)
	recs[6] = encode(record.LOBucket, bucket())
	check(0, false, 1, 5, 4, 8, 7, 3, 2, 6)
}

func TestItemsComeInOrderAndInRange(t *testing.T) {
	src := Direct{sample()}
	for lo := int64(-10); lo < 35; lo++ {
		for hi := lo - 1; hi < 35; hi++ {
			var got, want []int64
			err := Items(ctx, src, 1, 1, lo, hi, func(key int64, value zodb.Oid) error {
				if value != zodb.Oid(1000+key) {
					t.Errorf("%d: value %s", key, value)
				}
				got = append(got, key)
				return nil
			})
			for _, key := range sampleKeys {
				if lo <= key && key <= hi {
					want = append(want, key)
				}
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("[%d, %d]: %v %v; want %v", lo, hi, got, err, want)
			}
		}
	}
	mine := errors.New("mine")
	if err := Items(ctx, src, 1, 1, 0, 9, func(int64, zodb.Oid) error { return mine }); !errors.Is(err, mine) {
		t.Error(err)
	}
}

func TestTreesThatCannotBeRightEndInAnError(t *testing.T) {
	wide := func(child int64) build { // 500 children, all the same
		items := []int64{child}
		for i := int64(1); i < 500; i++ {
			items = append(items, i, child)
		}
		return inner(items...)
	}
	deep := records{}
	for oid := int64(1); oid < 200; oid++ {
		deep[zodb.Oid(oid)] = encode(record.LOBTree, inner(oid+1))
	}
	for name, test := range map[string]struct {
		recs records
		want string
		only string // the walk that can notice, if not all
	}{
		"cycle":     {records{1: encode(record.LOBTree, inner(2)), 2: encode(record.LOBTree, inner(1))}, "0000000000000001", ""},
		"too deep":  {deep, "0000000000000065 @0000000000000001: tree is deeper than 100 nodes", ""},
		"shared":    {records{1: encode(record.LOBTree, wide(2)), 2: encode(record.LOBTree, wide(3)), 3: encode(record.LOBTree, wide(4)), 4: encode(record.LOBTree, none())}, "linked to its tree more than once", "branching"},
		"families":  {records{1: encode(record.LOBTree, inner(2)), 2: encode(record.IOBucket, bucket(1))}, "expect a node of a LOBTree; got one of a IOBTree", ""},
		"no node":   {records{1: encode(record.LOBTree, inner(2)), 2: encode(record.ZData, none())}, "got wendelin.bigfile.file_zodb.ZData", ""},
		"no record": {records{1: []byte("garbage")}, "damaged record of object 0000000000000001 @0000000000000001", ""},
	} {
		src := Direct{test.recs}
		_, err1 := Lookup(ctx, src, 1, 1, 5)
		_, _, _, err2 := MaxKey(ctx, src, 1, 1)
		err3 := Items(ctx, src, 1, 1, math.MinInt64, math.MaxInt64, func(int64, zodb.Oid) error { return nil })
		for i, err := range []error{err1, err2, err3} {
			if i == 0 && test.only == "branching" {
				continue
			}
			var corrupt *storage.CorruptError
			if !errors.As(err, &corrupt) || corrupt.Tid != 1 || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: walk #%d: %v", name, i, err)
			}
		}
	}
}

func bucket60() []byte {
	var keys []int64
	for i := range int64(60) {
		keys = append(keys, 1000+3*i)
	}
	return encode(record.LOBucket, bucket(keys...))
}

func BenchmarkDecodeBucket60(b *testing.B) {
	data := bucket60()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	nodes := cached{}
	for oid := range sample() {
		n, err := Decode(sample()[oid])
		if err != nil {
			b.Fatal(err)
		}
		nodes[oid] = n
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Lookup(ctx, nodes, 1, 1, 9); err != nil {
			b.Fatal(err)
		}
	}
}

type cached map[zodb.Oid]*Node

func (c cached) Node(_ context.Context, xid zodb.Xid) (*Node, zodb.Tid, error) {
	n, ok := c[xid.Oid]
	if !ok {
		return nil, 0, fmt.Errorf("%s is not there", xid.Oid)
	}
	return n, 1, nil
}
