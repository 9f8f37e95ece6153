package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/form"
	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// read is a registered READ. It is guarded by the lock of its file.
type read struct {
	file     *File
	extents  []bigfile.Extent
	span     span               // whole pages that the kernel keeps locked meanwhile
	direct   bool               // O_DIRECT: locks no pages
	thread   int                // that reads
	replying bool               // the reply has passed the gate
	end      int64              // of what is read
	view     zodb.Tid           // of the file when the READ came
	size     int64              // the same
	cutAt    int64              // size of the file that ended the READ; -1: it did not
	resized  bool               // its waiting was ended since it ends behind the end
	refused  error              // why the READ must not wait any longer
	cancel   context.CancelFunc // ends its waiting for the storage
}

// Release unregisters the READ. The reply calls it when it is written.
func (r *read) Release() {
	f := r.file
	f.head.counts.reads.Add(-1)
	if kernel := f.unregister(r); kernel != nil {
		f.head.loader.Go(func() {
			if err := kernel.InvalidateAttr(); err != nil {
				f.head.cfg.Warnf("%s", err)
			}
		})
	}
}

// unregister takes register back. It returns the kernel if that has to ask for the
// attributes again.
func (f *File) unregister(r *read) Kernel {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range r.extents {
		left := slices.DeleteFunc(f.reads[e.Blk], func(o *read) bool { return o == r })
		if len(left) == 0 {
			delete(f.reads, e.Blk)
		} else {
			f.reads[e.Blk] = left
		}
	}
	if f.hasGrown() && f.show(f.served().Size) {
		return f.kernel
	}
	return nil
}

// errReadAhead refuses read-ahead that would have to wait for a client. The kernel
// then asks for the pages that are really wanted, one by one.
//
// It keeps pages of several blocks locked, so that a client who is slow with one
// block would delay those who read the other; and if the rest of the other is
// being stored, the next commit.
var errReadAhead = syscall.EAGAIN

// errResized says that the READ ends behind the end of the file, or was cut at what
// is not the end any more.
var errResized = errors.New("the size of the file changed")

// isReadAhead reports whether the READ is of several blocks, or goes on behind the
// end of the file, and so cannot be what one page fault asked for.
func (r *read) isReadAhead() bool {
	several := len(r.extents) > 1 || r.span.hi > pages(0, r.end).hi
	return several && !r.direct && r.span.hi-r.span.lo > int64(os.Getpagesize())
}

// Request is a READ.
type Request struct {
	Off    int64
	N      int
	Direct bool // of a file opened with O_DIRECT
	Thread int  // id of the thread that reads, 0 if it is not known

	// Interrupted is closed when the thread has got a signal: if it is to die, it
	// cannot before the READ is answered. It may be nil.
	Interrupted <-chan struct{}
}

// Read answers a READ of up to N bytes from offset Off, which is negative in the header of
// an array; there is nothing at or beyond the end of the file. The reply counts as unanswered until it is
// released.
//
// If a commit changes what was loaded, it is loaded again: what passes the gate is not
// older than the view at that moment. Read waits until no client sees the data through
// head/ that must not see it; for a commit it waits as the package comment says.
func (f *File) Read(ctx context.Context, req Request) (*bigfile.Reply, error) {
	return f.readAgain(ctx, req, nil)
}

// readAgain is Read in place of begun, which began with another end, if that is not nil.
// It is released only then: the kernel must not be told the new size while a READ waits.
func (f *File) readAgain(ctx context.Context, req Request, begun *read) (*bigfile.Reply, error) {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	r, blksize, err := f.register(req, cancel)
	if begun != nil {
		begun.Release()
	}
	if err == errGrowing || err == errEndGrows {
		if err := f.awaitGrowth(ctx, req, err == errEndGrows); err != nil {
			return nil, err
		}
		return f.Read(ctx, req)
	}
	if r == nil || err != nil {
		return &bigfile.Reply{}, err
	}
	reply := &bigfile.Reply{}
	reply.Own(r)
	if err := f.head.refuse(req.Thread); err != nil {
		reply.Release()
		return nil, err
	}
	a := &attempt{file: f, read: r, blksize: blksize, interrupted: req.Interrupted}
	err = a.run(reading)
	a.unkeep()
	if err != nil {
		err = a.reason(err)
		a.release()
		if err == errResized {
			return f.readAgain(ctx, req, r)
		}
		reply.Release()
		return nil, err
	}
	if header := a.header.From(req.Off); header != nil {
		reply.AddBytes(header[:min(len(header), req.N)])
	}
	for i, e := range r.extents {
		reply.Add(a.loads[i], a.values[i].Data, e)
	}
	f.head.loader.RunFills(a.kernel, a.fills, a.stored)
	reply.Flatten()
	f.head.evictor.check()
	return reply, nil
}

// run repeats r2 to r6 until the reply may go.
func (a *attempt) run(ctx context.Context) error {
	for {
		done, err := a.try(ctx)
		if err != nil && a.overtaken(ctx, err) {
			continue
		}
		if done || err != nil {
			return err
		}
	}
}

// try is r2 to r6. It returns false if they have to be repeated.
func (a *attempt) try(ctx context.Context) (done bool, err error) {
	if err := a.load(ctx); err != nil {
		return false, a.spare(ctx, err)
	}
	concerns, ok, err := a.serve()
	if !ok || err != nil || a.read.replying {
		return ok, err
	}
	if err := a.pin(ctx, concerns); err != nil {
		return false, err
	}
	return a.gate(ctx, concerns)
}

// overtaken reports whether err is due to packs that have gone beyond the newest view,
// because commits are taken in too slowly. It waits for the next view then: the
// commits up to the pack are there already.
func (a *attempt) overtaken(ctx context.Context, err error) bool {
	f := a.file
	f.mu.Lock()
	view := f.served().View
	f.mu.Unlock()
	var packed *storage.PackedError
	var corrupt *storage.CorruptError // what is referred to, and is not there
	if !errors.As(err, &packed) && !errors.As(err, &corrupt) || f.head.revs.Incomplete(f.Oid, view) == nil {
		return false
	}
	if f.head.WaitAt(ctx, view+1) != nil {
		return false
	}
	a.release()
	clear(a.loads)
	return true
}

// register is r1: it enters the READ and keeps its blocks from being evicted.
// It returns nil if there is nothing to read.
func (f *File) register(req Request, cancel context.CancelFunc) (r *read, blksize int64, err error) {
	off, n := req.Off, req.N
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fenced != nil {
		return nil, 0, f.fenced
	}
	if err := f.behindEnd(req); err != nil {
		return nil, 0, err
	}
	if off >= f.served().Size || n <= 0 {
		return nil, 0, nil
	}
	cutAt, locked := int64(-1), pages(off, off+int64(n))
	if int64(n) > f.served().Size-off {
		n, cutAt = int(f.served().Size-off), f.served().Size
	}
	blksize = f.served().Obj.BlkSize
	from := max(off, 0)
	extents := bigfile.Extents(from, int(max(off+int64(n)-from, 0)), blksize)
	r = &read{file: f, extents: extents, span: locked, direct: req.Direct, thread: req.Thread, end: off + int64(n), view: f.served().View, size: f.served().Size, cutAt: cutAt, cancel: cancel}
	for _, e := range r.extents {
		f.reads[e.Blk] = append(f.reads[e.Blk], r)
		delete(f.leaving, e.Blk)
	}
	f.head.counts.reads.Add(1)
	return r, blksize, nil
}

// kernelOf returns how to reach the kernel.
func (f *File) kernelOf() Kernel {
	f.mu.Lock()
	defer f.mu.Unlock()
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
	for i, e := range a.read.extents {
		if a.loads[i] == nil {
			a.loads[i], a.first[i] = f.loads.Acquire(blkView{e.Blk, view})
		}
	}
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
