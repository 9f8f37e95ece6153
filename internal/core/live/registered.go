package live

import (
	"context"
	"os"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/bigfile"
)

// read is a registered READ. It is guarded by the lock of its file.
type read struct {
	file     *File
	extents  []bigfile.Extent
	span     span               // whole pages that the kernel keeps locked meanwhile
	direct   bool               // O_DIRECT: locks no pages
	thread   int                // that reads
	replying bool               // the reply goes: nothing holds it back any more
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
				f.head.cfg.Observer.Warnf("%s", err)
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
		f.broadcast()
		return f.kernel
	}
	return nil
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

// isReadAhead reports whether the READ is of several blocks, or goes on behind the
// end of the file, and so cannot be what one page fault asked for.
func (r *read) isReadAhead() bool {
	several := len(r.extents) > 1 || r.span.hi > pages(0, r.end).hi
	return several && !r.direct && r.span.hi-r.span.lo > int64(os.Getpagesize())
}
