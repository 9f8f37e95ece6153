package live

import (
	"context"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/form"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// attempt is the blocks that a READ has loaded.
type attempt struct {
	file    *File
	read    *read
	blksize int64
	loads   []*bigfile.Load[blkView, *loaded] // one an extent; nil: to be loaded
	first   []bool
	values  []*loaded

	view zodb.Tid           // at which the blocks were found served
	revs map[int64]zodb.Tid // revisions of blocks that watches may have to pin

	header form.Header // of the moment when the reply was let go

	kernel Kernel // for fills
	fills  []*bigfile.Fill
	filled []int64 // blocks of fills

	interrupted <-chan struct{} // nil once it was seen to be closed
	signalled   bool            // the thread has got a signal
	kept        int64           // bytes of blocks in memory that are counted as those of parked READs
}

// load is r2: it loads what is missing, at the view of now, holding nothing.
func (a *attempt) load(ctx context.Context) error {
	a.acquire()
	for i, ld := range a.loads {
		if err := a.await(ctx, ld.Done()); err != nil {
			return fmt.Errorf("readblk #%d: %w", a.read.extents[i].Blk, err)
		}
		value, err := ld.Wait(ctx)
		if err != nil && a.outdated(i) {
			ld.Release() // the damage may be gone with the change
			a.loads[i] = nil
			return a.load(ctx)
		}
		if err != nil {
			return fmt.Errorf("readblk #%d: %w", a.read.extents[i].Blk, err)
		}
		a.values[i] = value
	}
	return nil
}

func (a *attempt) acquire() {
	f, view, size := a.file, a.read.view, a.read.size
	if a.values != nil { // it is not the first time
		f.mu.Lock()
		view, size = f.served().View, f.served().Size
		f.mu.Unlock()
	}
	if a.loads == nil {
		n := len(a.read.extents)
		a.loads, a.first, a.values = make([]*bigfile.Load[blkView, *loaded], n), make([]bool, n), make([]*loaded, n)
	}
	end := size / a.blksize
	window := bigfile.Window[blkView]{BlkSize: a.blksize, End: end, Key: func(blk int64) blkView { return blkView{blk, view} }}
	f.loads.AcquireAll(a.read.extents, window.Key, a.loads, a.first)
	if len(a.read.extents) > 0 { // else it is of a header
		f.ahead.Read(a.read.extents, window)
	}
}

// outdated reports whether extent i was loaded at a view since which its block
// may have changed.
func (a *attempt) outdated(i int) bool {
	a.file.mu.Lock()
	defer a.file.mu.Unlock()
	return a.file.fenced == nil && a.file.served().ChangedAfter(a.read.extents[i].Blk, a.loads[i].Key.view)
}

// release drops what was loaded.
func (a *attempt) release() {
	for _, ld := range a.loads {
		if ld != nil {
			ld.Release()
		}
	}
}

// serve is r3: in one critical section it checks that nothing that was loaded
// may have changed since, notes the blocks as served, and lists the watches that
// this concerns. A watch that is set up later finds the blocks served. If there is none,
// and no commit is waited for, the reply may go. It returns false if something has to be
// loaded again.
func (a *attempt) serve() (all []concern, ok bool, err error) {
	f := a.file
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.dropChanged() {
		return nil, false, nil
	}
	if err := a.refused(); err != nil {
		return nil, false, err
	}
	if a.resized() {
		return nil, false, errResized
	}
	for i, e := range a.read.extents {
		if f.closing != nil && !f.served().Has(e.Blk) {
			f.closing.late[e.Blk] = struct{}{}
		}
		f.serve(e.Blk, a.values[i].walk, a.values[i].Serial)
		f.served().Touch(e.Blk, f.head.evictor.now())
	}
	a.view = f.served().View
	if all = a.concerns(); len(all) == 0 && !a.closed() {
		a.letGo()
	}
	return all, true, nil
}

// dropChanged drops the loads of blocks that may have changed since, and reports whether
// there are any.
func (a *attempt) dropChanged() (any bool) {
	a.file.mu.MustHold()
	for i, e := range a.read.extents {
		if ld := a.loads[i]; a.file.served().ChangedAfter(e.Blk, ld.Key.view) {
			ld.Release()
			a.loads[i] = nil
			any = true
		}
	}
	return any
}

// refused returns why the READ must not be answered with data.
func (a *attempt) refused() error {
	a.file.mu.MustHold()
	if a.file.fenced != nil {
		return a.file.fenced
	}
	return a.read.refused
}

// reason returns why the READ failed with err: the waiting of one that is refused,
// or has to begin anew, is canceled.
func (a *attempt) reason(err error) error {
	a.file.mu.Lock()
	defer a.file.mu.Unlock()
	switch refused := a.refused(); {
	case refused != nil:
		return refused
	case a.resized():
		return errResized
	}
	return err
}

// planFills decides which rests of blocks are stored, in the section that lets the reply
// go: a commit that begins later waits for these stores.
func (a *attempt) planFills() {
	f := a.file
	f.mu.MustHold()
	if f.noStore || f.kernel == nil {
		return
	}
	a.kernel = f.kernel
	for i, e := range a.read.extents {
		end := bigfile.EndIn(e.Blk, a.blksize, f.served().Size)
		if !a.first[i] || f.stores[e.Blk] != nil || !bigfile.Fillable(e, a.blksize, end) {
			continue
		}
		f.stores[e.Blk] = make(chan struct{})
		a.loads[i].Retain()
		a.fills = append(a.fills, &bigfile.Fill{Extent: e, Data: a.values[i].Data, BlkSize: a.blksize, End: end, Owner: a.loads[i]})
		a.filled = append(a.filled, e.Blk)
	}
}

// stored notes that all fills are done.
func (a *attempt) stored() {
	a.file.mu.Lock()
	defer a.file.mu.Unlock()
	for _, blk := range a.filled {
		close(a.file.stores[blk])
		delete(a.file.stores, blk)
	}
}
