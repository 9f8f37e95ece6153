package live

import (
	"context"
	"errors"
	"syscall"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

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
// If a commit changes what was loaded, it is loaded again: a reply that goes is not older
// than the view at that moment. Read waits until no client sees the data through
// head/ that must not see it; for a commit it waits as the package comment says ("The
// promise").
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
