package head

import (
	"context"
	"fmt"
	"slices"

	"github.com/wcfs/wcfs/internal/bigfile"
)

// read is a registered READ. It is guarded by the lock of its file.
type read struct {
	file     *File
	extents  []bigfile.Extent
	span     span // whole pages that the kernel keeps locked meanwhile
	direct   bool // O_DIRECT: locks no pages
	replying bool // the reply has passed the gate
}

// Release unregisters the READ. The reply calls it when it is written.
func (r *read) Release() {
	f := r.file
	f.Lock()
	defer f.Unlock()
	for _, e := range r.extents {
		left := slices.DeleteFunc(f.reads[e.Blk], func(o *read) bool { return o == r })
		if len(left) == 0 {
			delete(f.reads, e.Blk)
		} else {
			f.reads[e.Blk] = left
		}
	}
}

// Read answers a READ of up to n bytes from offset off; there is nothing at or
// beyond the end of the file. direct says that the READ is of a file opened
// with O_DIRECT. The reply counts as unanswered until it is released.
//
// Read never waits for a commit. If one changes what was loaded, it is loaded
// again: what passes the gate is not older than the view at that moment.
func (f *File) Read(ctx context.Context, off int64, n int, direct bool) (*bigfile.Reply, error) {
	r, blksize, err := f.register(off, n, direct)
	if r == nil || err != nil {
		return &bigfile.Reply{}, err
	}
	reply := &bigfile.Reply{}
	reply.Own(r)
	a := &attempt{file: f, read: r, blksize: blksize}
	for {
		if err := a.load(ctx); err != nil {
			a.release()
			reply.Release()
			return nil, err
		}
		done, err := a.gate()
		if err != nil {
			a.release()
			reply.Release()
			return nil, err
		}
		if done {
			break
		}
	}
	for i, e := range r.extents {
		reply.Add(a.loads[i], a.values[i].Data, e)
	}
	f.head.loader.RunFills(f.kernelOf(), a.fills, a.stored)
	reply.Flatten()
	f.head.evictor.check()
	return reply, nil
}

// register is r1: it enters the READ and keeps its blocks from being evicted.
// It returns nil if there is nothing to read.
func (f *File) register(off int64, n int, direct bool) (r *read, blksize int64, err error) {
	f.Lock()
	defer f.Unlock()
	if f.fenced != nil {
		return nil, 0, f.fenced
	}
	if off >= f.Size() || n <= 0 {
		return nil, 0, nil
	}
	n = int(min(int64(n), f.Size()-off))
	blksize = f.Obj().BlkSize
	r = &read{file: f, extents: bigfile.Extents(off, n, blksize), span: pages(off, off+int64(n)), direct: direct}
	for _, e := range r.extents {
		f.reads[e.Blk] = append(f.reads[e.Blk], r)
		delete(f.leaving, e.Blk)
	}
	return r, blksize, nil
}

// kernelOf returns how to reach the kernel.
func (f *File) kernelOf() Kernel {
	f.Lock()
	defer f.Unlock()
	return f.kernel
}

// attempt is the blocks that a READ has loaded.
type attempt struct {
	file    *File
	read    *read
	blksize int64
	loads   []*bigfile.Load[blkView, *loaded] // one an extent; nil: to be loaded
	first   []bool
	values  []*loaded

	fills  []*bigfile.Fill
	filled []int64 // blocks of fills
}

// load is r2: it loads what is missing, at the view of now, holding nothing.
func (a *attempt) load(ctx context.Context) error {
	a.acquire()
	for i, ld := range a.loads {
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
	if a.loads == nil {
		n := len(a.read.extents)
		a.loads, a.first, a.values = make([]*bigfile.Load[blkView, *loaded], n), make([]bool, n), make([]*loaded, n)
	}
	a.file.Lock()
	view := a.file.View()
	a.file.Unlock()
	for i, e := range a.read.extents {
		if a.loads[i] == nil {
			a.loads[i], a.first[i] = a.file.loads.Acquire(blkView{e.Blk, view})
		}
	}
}

// outdated reports whether extent i was loaded at a view since which its block
// may have changed.
func (a *attempt) outdated(i int) bool {
	a.file.Lock()
	defer a.file.Unlock()
	return a.file.fenced == nil && a.file.ChangedAfter(a.read.extents[i].Blk, a.loads[i].Key.view)
}

// release drops what was loaded.
func (a *attempt) release() {
	for _, ld := range a.loads {
		if ld != nil {
			ld.Release()
		}
	}
}

// gate is r3 and r6: in one critical section it checks that nothing that was
// loaded may have changed since, notes the blocks as served, and lets the reply
// go. It returns false if something has to be loaded again.
func (a *attempt) gate() (done bool, err error) {
	f := a.file
	f.Lock()
	defer f.Unlock()
	if f.fenced != nil {
		return false, f.fenced
	}
	again := false
	for i, e := range a.read.extents {
		if ld := a.loads[i]; f.ChangedAfter(e.Blk, ld.Key.view) {
			ld.Release()
			a.loads[i] = nil
			again = true
		}
	}
	if again {
		return false, nil
	}
	for i, e := range a.read.extents {
		f.Serve(e.Blk, a.values[i].walk, a.values[i].Serial)
		f.Touch(e.Blk, f.head.evictor.now())
	}
	a.read.replying = true
	a.planFills()
	return true, nil
}

// planFills decides which rests of blocks are stored. Requires: lock of the
// file, in the section that lets the reply go: a commit that begins later waits
// for these stores.
func (a *attempt) planFills() {
	f := a.file
	if f.noStore || f.kernel == nil {
		return
	}
	for i, e := range a.read.extents {
		if !a.first[i] || f.stores[e.Blk] != nil || !bigfile.Fillable(e, a.blksize) {
			continue
		}
		f.stores[e.Blk] = make(chan struct{})
		a.loads[i].Retain()
		a.fills = append(a.fills, &bigfile.Fill{Extent: e, Data: a.values[i].Data, BlkSize: a.blksize, Owner: a.loads[i]})
		a.filled = append(a.filled, e.Blk)
	}
}

// stored notes that all fills are done.
func (a *attempt) stored() {
	a.file.Lock()
	defer a.file.Unlock()
	for _, blk := range a.filled {
		close(a.file.stores[blk])
		delete(a.file.stores, blk)
	}
}
