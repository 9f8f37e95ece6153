package live

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/core/served"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/btree"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// checkRegistry requires that what is registered for f is what its served
// blocks and its size need: exactly that if it was just swept, else at least.
func (r *run) checkRegistry(f *File, exact bool) error {
	src := bigfile.Direct{Direct: btree.Direct{Loader: r.w.db}}
	x := served.NewIndex()
	x.Enter(f.Oid)
	_, path, err := bigfile.Size(r.ctx, src, f.blocks.Obj, f.blocks.View)
	if err != nil {
		return err
	}
	x.Register(f.Oid, append(versions.FileStep(f.Oid, 0), path...))
	for _, blk := range keysServed(f) {
		found, err := btree.Lookup(r.ctx, src, f.blocks.Obj.Table, f.blocks.View, blk)
		if err != nil {
			return err
		}
		x.Register(f.Oid, found.Path)
	}
	want, is := x.Registered(f.Oid), f.registered()
	if exact && !maps.Equal(is, want) {
		return fmt.Errorf("file %d: registered %v; needs %v", f.Oid, is, want)
	}
	for oid, keys := range want {
		if got, ok := is[oid]; !ok || got.Lo > keys.Lo || got.Hi < keys.Hi {
			return fmt.Errorf("file %d: node %d is needed for %v; registered %v", f.Oid, oid, keys, got)
		}
	}
	return r.h.checkIndex()
}

// sweep sweeps all files while nothing else happens.
func (r *run) sweep() error {
	for _, f := range r.files {
		done, err := f.sweep(r.ctx)
		if err != nil {
			return err
		}
		if now, left := f.registrations(); !done || now != left {
			return fmt.Errorf("file %d: swept: %v; %d registrations, %d left", f.Oid, done, now, left)
		}
		if err := r.checkRegistry(f, true); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}

// sweepMeanwhile sweeps all files while other things happen, until the returned
// function is called. Errors of reading are left to other steps of the run.
func (r *run) sweepMeanwhile() (wait func()) {
	var sweeps sync.WaitGroup
	for _, f := range r.files {
		sweeps.Go(func() { _, _ = f.sweep(r.ctx) })
	}
	return sweeps.Wait
}

// duringSweep runs a sweep of a file of which block 100 is served and block 0
// no longer is. do is called while the sweep loads the leaf of block 100.
func duringSweep(t *testing.T, do func(b *bench)) (b *bench, done bool) {
	b = newBenchOf(t, 200, 0, 0)
	b.serve(t, 0, 1)
	b.serve(t, 100, 101)
	b.f.mu.Lock()
	b.f.drop(0)
	b.f.mu.Unlock()
	arrived, pass := b.g.holdLoad(gridLeaf + 100/keysPerLeaf)
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		done, err = b.f.sweep(t.Context())
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
	require.NotContains(t, b.f.registered(), gridLeaf)
	require.False(t, b.leads(gridLeaf))
	now, left := b.f.registrations()
	require.Equal(t, 5, now) // file, root, inner node, leaf of block 100 and the last leaf
	require.Equal(t, now, left)
}

// TestSweepKeepsWhatIsServedMeanwhile serves a block in a leaf that the sweep
// has passed already.
func TestSweepKeepsWhatIsServedMeanwhile(t *testing.T) {
	b, done := duringSweep(t, func(b *bench) { b.serve(t, 5, 6) })
	require.True(t, done)
	require.Contains(t, b.f.registered(), gridLeaf)
	require.True(t, b.leads(gridLeaf))
}

func TestSweepGivesUpWhenAnotherBegins(t *testing.T) {
	duringSweep(t, func(b *bench) {
		done, err := b.f.sweep(t.Context())
		require.NoError(t, err)
		require.False(t, done)
	})
}

// TestSweepGivesUpWhenTheViewMoves also wants that the next sweep does it.
func TestSweepGivesUpWhenTheViewMoves(t *testing.T) {
	b, done := duringSweep(t, func(b *bench) { b.commit(t, nil) })
	require.False(t, done)
	require.Contains(t, b.f.registered(), gridLeaf)
	done, err := b.f.sweep(t.Context())
	require.NoError(t, err)
	require.True(t, done)
	require.NotContains(t, b.f.registered(), gridLeaf)
}

func TestSweepGivesUpDuringCommit(t *testing.T) {
	b, done := duringSweep(t, func(b *bench) { b.h.begin(storage.Event{Tid: b.tid + 1}) })
	require.False(t, done)
	done, err := b.f.sweep(t.Context())
	require.NoError(t, err)
	require.False(t, done)
	require.Contains(t, b.f.registered(), gridLeaf)
}

func TestFileThatLeftDuringSweepIsForgotten(t *testing.T) {
	b, done := duringSweep(t, func(b *bench) {
		b.f.mu.Lock()
		b.f.dropAll()
		b.h.indexed(func(x *served.Index) { x.Leave(b.f.Oid) })
		b.f.mu.Unlock()
	})
	require.False(t, done)
	require.Zero(t, b.h.sizes())
}

// TestCanceledSweepChangesNothing also wants that the next one works.
func TestCanceledSweepChangesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := newBenchOf(t, 200, 0, 0)
	b.serve(t, 0, 1)
	b.f.mu.Lock()
	b.f.drop(0)
	b.f.mu.Unlock()
	done, err := b.f.sweep(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, done)
	require.Contains(t, b.f.registered(), gridLeaf)
	done, err = b.f.sweep(t.Context())
	require.NoError(t, err)
	require.True(t, done)
}
