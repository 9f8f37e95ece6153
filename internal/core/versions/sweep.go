package versions

import (
	"context"
	"fmt"
	"math"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// sweep is one Sweep of a file under way.
type sweep struct {
	file  *File
	view  zodb.Tid
	obj   *bigfile.File
	nodes nodeSet // found so far, and registered since it began; guarded by History.mu
}

// detachAtOnce is how many nodes are detached without letting others go on.
const detachAtOnce = 1024

// Registrations returns how many nodes are registered for f, and how many of
// them the last Sweep had left. A sweep costs a walk per leaf that has served
// blocks, so it pays when the one is a multiple of the other, or when many
// blocks were dropped.
func (f *File) Registrations() (now, left int) {
	f.history.mu.Lock()
	defer f.history.mu.Unlock()
	return len(f.nodes), f.left
}

// Sweep lets go of registered nodes that no served block and not the size
// depends on any more. It looks at all leaves with served blocks and holds no
// lock meanwhile. It gives up, and returns false, when the file switches to
// another view meanwhile, or when it is swept already: try again later. What an
// error leaves is right too.
func (f *File) Sweep(ctx context.Context) (done bool, err error) {
	s := f.beginSweep()
	if s == nil {
		return false, nil
	}
	err = s.mark(ctx)
	if err != nil {
		err = fmt.Errorf("sweep file %s: %w", f.Oid, err)
	}
	old, done := s.end(err == nil)
	s.detach(old)
	return done, err
}

// beginSweep makes all that is registered from now on known to the sweep too.
func (f *File) beginSweep() *sweep {
	f.Lock()
	defer f.Unlock()
	f.history.mu.Lock()
	defer f.history.mu.Unlock()
	if f.committing || f.sweep != nil || f.nodes == nil {
		return nil
	}
	f.sweep = &sweep{file: f, view: f.view, obj: f.obj, nodes: make(nodeSet, f.left)}
	return f.sweep
}

// mark registers what served blocks and the size depend on: once more for the
// file, for the first time for the sweep.
func (s *sweep) mark(ctx context.Context) error {
	h := s.file.history
	_, path, err := bigfile.Size(ctx, h.objs, s.obj, s.view)
	if err != nil {
		return err
	}
	h.register(s.file, append(fileStep(s.file.Oid, 0), path...))
	blk, ok := s.served(math.MinInt64)
	for ok {
		w, err := h.Walk(ctx, s.file.Oid, blk, s.view)
		if err != nil {
			return err
		}
		h.register(s.file, w.Path)
		leaf := w.Path[len(w.Path)-1]
		if leaf.Hi == math.MaxInt64 {
			break
		}
		blk, ok = s.served(leaf.Hi + 1) // those up to Hi have the same path
	}
	return nil
}

// served returns the first served block from blk on, as long as there is any
// use in going on.
func (s *sweep) served(blk int64) (first int64, ok bool) {
	s.file.Lock()
	defer s.file.Unlock()
	if s.file.view != s.view || s.file.committing {
		return 0, false
	}
	s.file.served.Ascend(blk, func(blk int64, _ *served) bool {
		first, ok = blk, true
		return false
	})
	return first, ok
}

// end makes what the sweep found all that is registered, and returns what was.
// Blocks that were served meanwhile are in it: they were registered with both.
// A commit begun meanwhile looks blocks up in its own view, so then all stays.
func (s *sweep) end(marked bool) (old nodeSet, done bool) {
	f, h := s.file, s.file.history
	f.Lock()
	defer f.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.sweep != s {
		return nil, false // the file has left
	}
	f.sweep = nil
	if !marked || f.view != s.view || f.committing {
		return nil, false
	}
	old, f.nodes = f.nodes, s.nodes
	f.left = len(f.nodes)
	return old, true
}

// detach ends that nodes lead to the file which it does not depend on.
func (s *sweep) detach(old nodeSet) {
	h, n := s.file.history, 0
	h.mu.Lock()
	defer h.mu.Unlock()
	for oid := range old {
		if n++; n%detachAtOnce == 0 {
			h.mu.Unlock()
			h.mu.Lock()
		}
		if _, ok := s.file.nodes[oid]; !ok {
			h.detach(oid, s.file)
		}
	}
}
