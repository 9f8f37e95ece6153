package versions

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
)

// checkRegistry requires that what is registered for f is what its served
// blocks and its size need: exactly that if it was just swept, else at least.
func (r *run) checkRegistry(f *File, exact bool) error {
	src := bigfile.Direct{Direct: btree.Direct{Loader: r.w.db}}
	want := make(nodeSet)
	add := func(path []btree.Step) {
		for _, step := range path {
			want.widen(step)
		}
	}
	_, path, err := bigfile.Size(r.ctx, src, f.obj, f.view)
	if err != nil {
		return err
	}
	add(append(fileStep(f.Oid, 0), path...))
	for _, blk := range f.served.Keys() {
		found, err := btree.Lookup(r.ctx, src, f.obj.Table, f.view, blk)
		if err != nil {
			return err
		}
		add(found.Path)
	}
	if exact && !maps.Equal(f.nodes, want) {
		return fmt.Errorf("file %d: registered %v; needs %v", f.Oid, f.nodes, want)
	}
	for oid, keys := range want {
		if got, ok := f.nodes[oid]; !ok || got.lo > keys.lo || got.hi < keys.hi {
			return fmt.Errorf("file %d: node %d is needed for %v; registered %v", f.Oid, oid, keys, got)
		}
	}
	return r.checkDependents()
}

// checkDependents requires that nodes lead to those files, and only to those,
// that they are registered for.
func (r *run) checkDependents() error {
	leads := 0
	for oid, d := range r.h.nodes {
		for _, f := range append(slices.Clone(d.more), d.first) {
			if _, ok := f.nodes[oid]; !ok {
				return fmt.Errorf("node %d leads to file %d without need", oid, f.Oid)
			}
			leads++
		}
	}
	for _, f := range r.files {
		leads -= len(f.nodes)
	}
	if leads != 0 {
		return fmt.Errorf("%d more leads from nodes to files than registrations", leads)
	}
	return nil
}

// sweep sweeps all files while nothing else happens.
func (r *run) sweep() error {
	for _, f := range r.files {
		done, err := f.Sweep(r.ctx)
		if err != nil {
			return err
		}
		if now, left := f.Registrations(); !done || now != left {
			return fmt.Errorf("file %d: swept: %v; %d registrations, %d left", f.Oid, done, now, left)
		}
		if err := r.checkRegistry(f, true); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}

// sweepMeanwhile sweeps all files while other things happen, until the returned
// function is called. What cannot be read others will tell.
func (r *run) sweepMeanwhile() (wait func()) {
	var sweeps sync.WaitGroup
	for _, f := range r.files {
		sweeps.Go(func() { _, _ = f.Sweep(r.ctx) })
	}
	return sweeps.Wait
}

// duringSweep runs a sweep of a file of which block 100 is served and block 0
// no longer is. do is called while the sweep loads the leaf of block 100.
func duringSweep(t *testing.T, do func(b *bench)) (b *bench, done bool) {
	b = newBench(t, 200, 0)
	b.serve(t, 0, 1)
	b.serve(t, 100, 101)
	b.f.Lock()
	b.f.Drop(0)
	b.f.Unlock()
	b.objs.mu.Lock()
	b.objs.makeRoom(b.objs.budget)
	b.objs.mu.Unlock()
	arrived, pass := b.g.holdLoad(gridLeaf + 100/keysPerLeaf)
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		done, err = b.f.Sweep(t.Context())
	}()
	<-arrived
	do(b)
	close(pass)
	<-ended
	require.NoError(t, err)
	return b, done
}

func TestSweepLetsGoOfDroppedBlocks(t *testing.T) {
	b, done := duringSweep(t, func(*bench) {})
	require.True(t, done)
	require.NotContains(t, b.f.nodes, gridLeaf)
	require.NotContains(t, b.h.nodes, gridLeaf)
	now, left := b.f.Registrations()
	require.Equal(t, 5, now) // file, root, inner node, leaf of block 100 and the last leaf
	require.Equal(t, now, left)
}

// TestSweepKeepsWhatIsServedMeanwhile serves a block in a leaf that the sweep
// has passed already.
func TestSweepKeepsWhatIsServedMeanwhile(t *testing.T) {
	b, done := duringSweep(t, func(b *bench) { b.serve(t, 5, 6) })
	require.True(t, done)
	require.Contains(t, b.f.nodes, gridLeaf)
	require.Contains(t, b.h.nodes, gridLeaf)
}

func TestSweepGivesUpWhenAnotherBegins(t *testing.T) {
	duringSweep(t, func(b *bench) {
		done, err := b.f.Sweep(t.Context())
		require.NoError(t, err)
		require.False(t, done)
	})
}

// TestSweepGivesUpWhenTheViewMoves also wants that the next sweep does it.
func TestSweepGivesUpWhenTheViewMoves(t *testing.T) {
	b, done := duringSweep(t, func(b *bench) { b.commit(t, []*File{b.f}, nil) })
	require.False(t, done)
	require.Contains(t, b.f.nodes, gridLeaf)
	done, err := b.f.Sweep(t.Context())
	require.NoError(t, err)
	require.True(t, done)
	require.NotContains(t, b.f.nodes, gridLeaf)
}

func TestSweepGivesUpDuringCommit(t *testing.T) {
	var c *Commit
	b, done := duringSweep(t, func(b *bench) {
		c = b.h.Begin(b.tid+1, nil)
		b.f.Lock()
		c.Prepare(b.f)
		b.f.Unlock()
	})
	require.False(t, done)
	done, err := b.f.Sweep(t.Context())
	require.NoError(t, err)
	require.False(t, done)
	require.Contains(t, b.f.nodes, gridLeaf)
}

func TestFileThatLeftDuringSweepIsForgotten(t *testing.T) {
	b, done := duringSweep(t, func(b *bench) {
		b.f.Lock()
		b.f.Leave()
		b.f.Unlock()
	})
	require.False(t, done)
	require.Zero(t, b.h.Sizes())
}

// TestCanceledSweepChangesNothing also wants that the next one works.
func TestCanceledSweepChangesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := newBench(t, 200, 0)
	b.serve(t, 0, 1)
	b.f.Drop(0)
	b.objs.makeRoom(b.objs.budget)
	done, err := b.f.Sweep(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, done)
	require.Contains(t, b.f.nodes, gridLeaf)
	done, err = b.f.Sweep(t.Context())
	require.NoError(t, err)
	require.True(t, done)
}
