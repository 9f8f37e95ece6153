package live

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/served"
	"github.com/wcfs/wcfs/internal/core/versions"
)

// bench is a history of one file of a grid.
type bench struct {
	g    *grid
	objs *versions.Objects
	h    *Head
	f    *File
	tid  zodb.Tid
}

// newBench opens a file of which the first leaf was stored again many times.
func newBench(b testing.TB, blocks int64, versions zodb.Tid) *bench {
	return newBenchOf(b, blocks, versions, 256<<20)
}

// newBenchOf is newBench with a budget for the node cache.
func newBenchOf(b testing.TB, blocks int64, stored zodb.Tid, budget int64) *bench {
	g := &grid{blocks: blocks, leaves: make(map[zodb.Oid][]zodb.Tid)}
	head := gridStart + stored
	for tid := gridStart + 1; tid <= head; tid++ {
		g.store(gridLeaf, tid)
	}
	objs := versions.NewObjects(b.Context(), g, head, budget)
	b.Cleanup(objs.Close)
	h := headOf(b, objs, g, gridStart)
	f, err := h.Open(b.Context(), gridFile)
	require.NoError(b, err)
	return &bench{g, objs, h, f, head}
}

// leads reports whether a changed node would be noticed.
func (t *bench) leads(node zodb.Oid) (ok bool) {
	t.h.indexed(func(x *served.Index) {
		nodes, _ := x.Hits([]zodb.Oid{node})
		ok = len(nodes) > 0
	})
	return ok
}

// serve serves blocks [lo, hi).
func (t *bench) serve(b testing.TB, lo, hi int64) {
	for blk := lo; blk < hi; blk++ {
		w, err := t.h.revs.Walk(b.Context(), gridFile, blk, t.tid)
		if err != nil {
			b.Fatal(err)
		}
		t.f.mu.Lock()
		t.f.serve(blk, w, gridStart)
		t.f.mu.Unlock()
	}
}

// commit takes in a change of oids and returns how many blocks changed.
func (t *bench) commit(b testing.TB, oids []zodb.Oid) (changed int) {
	t.tid++
	for _, c := range t.h.take(b, t.tid, oids).files {
		if c.delta != nil {
			changed += len(c.delta.Changed)
		}
	}
	t.objs.Forget(t.tid - 60)
	return changed
}

// heap returns the bytes in use after a collection.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkServe measures the first READ of a block, its walk included, and
// what a served block takes in memory with its part of the registry. The node
// cache has a budget of its own and is left out.
func BenchmarkServe(b *testing.B) {
	const blocks = 1 << 20
	for b.Loop() {
		b.StopTimer()
		t := newBench(b, blocks, 0)
		before := heap()
		b.StartTimer()
		t.serve(b, 0, blocks)
		b.StopTimer()
		b.ReportMetric((heap()-before-float64(t.objs.CacheStats().Bytes))/blocks, "B/block")
		b.ReportMetric(float64(t.h.sizes().Nodes), "nodes")
		runtime.KeepAlive(t)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/blocks, "ns/block")
}

// BenchmarkCommitOfOthers measures a transaction that touches nothing served,
// with many files known.
func BenchmarkCommitOfOthers(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("files=%d", n), func(b *testing.B) {
			t := newBench(b, 1000, 0)
			for oid := range zodb.Oid(n - 1) {
				f := newFile(t.h, served.New(math.MaxInt32+oid, t.tid, t.f.blocks.Obj, t.f.blocks.Size), math.MaxInt32+oid, t.tid)
				require.NotNil(b, t.h.enter(f, nil, t.tid))
			}
			oids := []zodb.Oid{math.MaxInt64, math.MaxInt64 - 1}
			for b.Loop() {
				require.Zero(b, t.commit(b, oids))
			}
		})
	}
}

// BenchmarkCommit measures a transaction that changes 16 served blocks: their
// ZBlks, or 16 leaves, so that these blocks show other ZBlks. It must not
// depend on the size of the table.
func BenchmarkCommit(b *testing.B) {
	for _, relink := range []bool{false, true} {
		for _, blocks := range []int64{1 << 10, 10_000, 100_000, 1 << 20} {
			b.Run(fmt.Sprintf("relink=%v/blocks=%d", relink, blocks), func(b *testing.B) {
				t := newBench(b, blocks, 0)
				t.serve(b, 0, blocks)
				var oids []zodb.Oid
				for i := range zodb.Oid(16) {
					leaf := zodb.Oid(blocks/keysPerLeaf) / 16 * i
					if relink {
						oids = append(oids, gridLeaf+leaf)
					} else {
						oids = append(oids, gridZBlk+leaf*keysPerLeaf)
					}
				}
				for b.Loop() {
					if relink {
						for _, oid := range oids {
							t.g.store(oid, t.tid+1)
						}
					}
					require.Equal(b, 16, t.commit(b, oids))
				}
			})
		}
	}
}

// BenchmarkAppend measures the object tail with transactions of 10 000 objects,
// with one minute of history.
func BenchmarkAppend(b *testing.B) {
	objs := versions.NewObjects(b.Context(), &grid{}, 0, 1<<20)
	defer objs.Close()
	oids := make([]zodb.Oid, 10_000)
	for i := range oids {
		oids[i] = zodb.Oid(i)
	}
	for tid := zodb.Tid(1); b.Loop(); tid++ {
		objs.Append(tid, oids)
		if tid > 60 {
			objs.Forget(tid - 60)
		}
	}
}

// BenchmarkNodeHit measures how long a cached node takes.
func BenchmarkNodeHit(b *testing.B) {
	for _, procs := range []int{1, 2} {
		b.Run(fmt.Sprintf("goroutines=%d", procs), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			t := newBench(b, 1<<20, 0)
			b.RunParallel(func(pb *testing.PB) {
				for i := zodb.Oid(0); pb.Next(); i++ {
					if _, _, err := t.objs.Node(context.Background(), zodb.Xid{At: gridStart, Oid: gridLeaf + i%1000}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkSweep measures a sweep of a file of which all is served.
func BenchmarkSweep(b *testing.B) {
	const blocks = 1 << 20
	t := newBench(b, blocks, 0)
	t.serve(b, 0, blocks)
	for b.Loop() {
		done, err := t.f.sweep(b.Context())
		require.NoError(b, err)
		require.True(b, done)
	}
}

// BenchmarkRevisionsOfBusyLeaf measures the revisions of 60 blocks that are
// served for the first time after their leaf was stored again 10 000 times:
// as History finds them, and by a walk back for each of them.
func BenchmarkRevisionsOfBusyLeaf(b *testing.B) {
	const stored, blocks = 10_000, 60
	for _, how := range []string{"routes", "walk"} {
		b.Run(how, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				t := newBench(b, blocks+1, stored)
				t.serve(b, 1, blocks+1)
				b.StartTimer()
				for blk := range int64(blocks) {
					rev, err := t.revision(b.Context(), blk+1, how)
					require.NoError(b, err)
					require.Equal(b, versions.Rev{Tid: gridStart, Exact: false}, rev)
				}
			}
		})
	}
}

func (t *bench) revision(ctx context.Context, blk int64, how string) (versions.Rev, error) {
	if how == "walk" {
		return t.h.walkBack(ctx, gridFile, blk, t.tid)
	}
	return t.h.revs.At(ctx, gridFile, blk, t.tid)
}
