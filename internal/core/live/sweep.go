package live

import (
	"context"
	"fmt"
	"math"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/served"
	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// detachAtOnce is how many nodes are detached without letting others go on.
const detachAtOnce = 1024

// registrations returns how many nodes are registered for f, and how many of them the
// last sweep had left.
func (f *File) registrations() (now, left int) {
	f.head.indexed(func(x *served.Index) { now, left = x.Registrations(f.Oid) })
	return now, left
}

// sweep lets go of registered nodes that no served block and not the size depends on any
// more. It looks at all leaves with served blocks and holds no lock meanwhile. It gives
// up, and returns false, when the file switches to another view meanwhile, or when it is
// swept already: it can be tried again later. The state is right after an error, too.
func (f *File) sweep(ctx context.Context) (done bool, err error) {
	var s *served.Sweep
	var view zodb.Tid
	var obj *bigfile.File
	f.mu.Lock()
	if !f.served().Committing() {
		view, obj = f.served().View, f.served().Obj
		f.head.indexed(func(x *served.Index) { s = x.BeginSweep(f.Oid) })
	}
	f.mu.Unlock()
	if s == nil {
		return false, nil
	}
	if err = f.mark(ctx, obj, view); err != nil {
		err = fmt.Errorf("sweep file %s: %w", f.Oid, err)
	}
	f.mu.Lock()
	complete := err == nil && f.isAt(view)
	f.head.indexed(func(x *served.Index) { done = x.EndSweep(s, complete) })
	f.mu.Unlock()
	for more := true; more; {
		f.head.indexed(func(x *served.Index) { more = x.Detach(s, detachAtOnce) })
	}
	return done, err
}

// isAt reports whether f shows a view, and no commit looks blocks up in another one.
func (f *File) isAt(view zodb.Tid) bool {
	return f.served().View == view && !f.served().Committing()
}

// mark registers what served blocks and the size depend on: once more for the file, for
// the first time for the sweep.
func (f *File) mark(ctx context.Context, obj *bigfile.File, view zodb.Tid) error {
	_, path, err := bigfile.Size(ctx, f.head.objs, obj, view)
	if err != nil {
		return err
	}
	f.depend(append(versions.FileStep(f.Oid, 0), path...))
	for blk, ok := f.servedAt(math.MinInt64, view); ok; {
		w, err := f.head.revs.Walk(ctx, f.Oid, blk, view)
		if err != nil {
			return err
		}
		f.depend(w.Path)
		leaf := w.Path[len(w.Path)-1]
		if leaf.Hi == math.MaxInt64 {
			break
		}
		blk, ok = f.servedAt(leaf.Hi+1, view) // those up to Hi have the same path
	}
	return nil
}

// servedAt returns the first served block from blk on, as long as f is at the view.
func (f *File) servedAt(blk int64, view zodb.Tid) (first int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	blks := f.served().In(blk, math.MaxInt64, 1)
	if len(blks) == 0 || !f.isAt(view) {
		return 0, false
	}
	return blks[0], true
}
