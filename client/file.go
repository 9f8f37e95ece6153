package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// File is a file as its Conn shows it.
type File struct {
	h      *handle
	closed atomic.Bool
}

// handle is what all Files of one oid in a Conn share. It is in Conn.files from
// before the watch is set up until after it is removed.
type handle struct {
	c       *Conn
	oid     Oid
	fd      int   // of head/; set before ready
	blksize int64 // set before ready
	index   int64 // in the pinner; set before ready
	nblk    int64 // blocks of head/ when the view was set; part of Conn.view

	ready chan struct{} // closed when it is open, or has failed to
	gone  chan struct{} // closed when it is not in Conn.files any more

	inUse sync.RWMutex // held by who uses the descriptor, for writing by who ends that

	// The fields below are guarded by Conn.mu.
	refs    int  // Files
	closing bool // no more Files come; after ready, if it could not be opened
}

// Open opens a file. It must have existed at the view. Several Files of one oid
// may be open; mappings work until the last one is closed.
//
// Errors: ErrNotBigFile, *ServerError, ErrBadFile, ErrClosed, that of ctx, and
// those of the operating system.
func (c *Conn) Open(ctx context.Context, oid Oid) (*File, error) {
	f, err := c.open(ctx, oid)
	if err != nil {
		return nil, c.wrap(err, "open f<%s>", oid)
	}
	return f, nil
}

func (c *Conn) open(ctx context.Context, oid Oid) (*File, error) {
	ctx, done, err := c.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	for {
		h, first := c.handle(oid)
		if first {
			if err := h.open(ctx); err != nil {
				return nil, err
			}
			return &File{h: h}, nil
		}
		if err := waitFor(ctx, h.ready); err != nil {
			return nil, err
		}
		if c.ref(h) {
			return &File{h: h}, nil
		}
		if err := waitFor(ctx, h.gone); err != nil {
			return nil, err
		}
	}
}

func waitFor(ctx context.Context, event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// handle returns the handle of oid, which is new if first is true; then the
// caller has to open it.
func (c *Conn) handle(oid Oid) (h *handle, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.files[oid]; h != nil {
		return h, false
	}
	h = &handle{c: c, oid: oid, fd: -1, refs: 1, ready: make(chan struct{}), gone: make(chan struct{})}
	c.files[oid] = h
	return h, true
}

// ref adds a File, unless the handle is being closed.
func (c *Conn) ref(h *handle) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !h.closing {
		h.refs++
	}
	return !h.closing
}

// unref takes a File away. It returns true if that was the last one; then the
// caller has to close the handle.
func (c *Conn) unref(h *handle) (last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h.refs--
	h.closing = h.refs == 0
	return h.closing
}

// open opens the handle for its first File. The view must be in use.
func (h *handle) open(ctx context.Context) (err error) {
	c := h.c
	defer close(h.ready)
	known, asked := false, false
	defer func() {
		if err == nil {
			return
		}
		c.unref(h)
		if asked && c.ctx.Err() == nil {
			// The server may be about to watch the file, or do so: until that
			// is over there must not be another watch of it. ctx may be over.
			c.wg.Go(func() {
				_ = c.unwatch(c.ctx, h.oid)
				h.drop(known)
			})
			return
		}
		h.drop(known)
	}()
	if h.fd, err = c.w.open("head/bigfile/"+h.oid.String(), unix.O_RDONLY); err != nil {
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			err = fmt.Errorf("%w: %w", ErrNotBigFile, err)
		}
		return err
	}
	size, blksize, err := stat(h.fd)
	if err != nil {
		return err
	}
	h.blksize, h.nblk = blksize, size/blksize
	index, errno := c.pinner.addFile(h.oid, h.fd, blksize, h.nblk)
	if errno != 0 {
		return errnoError("note the file", errno)
	}
	h.index, known = index, true
	if err := h.pinTail(); err != nil {
		return err
	}
	reply, err := c.sendWatch(h.oid, c.at)
	if err != nil {
		return err
	}
	asked = true
	return wait(ctx, "watch", reply)
}

// stat returns the sizes of an open file, in bytes.
func stat(fd int) (size, blksize int64, err error) {
	var st unix.Stat_t
	if err := uninterrupted(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return 0, 0, failed("stat", err)
	}
	size, blksize = st.Size, int64(st.Blksize)
	if blksize <= 0 || size%blksize != 0 {
		return 0, 0, fmt.Errorf("%w: size %d is not multiple of blksize %d", ErrBadFile, size, blksize)
	}
	return size, blksize, nil
}

// pinTail takes blocks that the file had at the view, and has not in head/, from
// the view itself: the server does not tell of them, as nobody can read them
// from head/. The view must be in use.
func (h *handle) pinTail() error {
	c := h.c
	head, err := c.w.Head()
	if err != nil || head == c.at { // then it is what head/ had; usual
		return err
	}
	fd, err := c.w.open(fmt.Sprintf("@%s/bigfile/%s", c.at, h.oid), unix.O_RDONLY)
	if err != nil {
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil // the server will say what is wrong
		}
		return err
	}
	defer unix.Close(fd)
	size, _, err := stat(fd)
	if err != nil {
		return err
	}
	return errnoError("pin the end", c.pinner.pinOwn(h.index, h.nblk, size/h.blksize, c.at))
}

// drop frees what the handle has, when no watch is left.
func (h *handle) drop(known bool) {
	c := h.c
	if known {
		c.pinner.dropFile(h.index)
	}
	c.mu.Lock()
	delete(c.files, h.oid)
	c.mu.Unlock()
	if h.fd >= 0 {
		_ = unix.Close(h.fd)
	}
	close(h.gone)
}

// Oid returns which file it is.
func (f *File) Oid() Oid { return f.h.oid }

// BlkSize returns the size of a block in bytes.
func (f *File) BlkSize() int64 { return f.h.blksize }

// Size returns the size at the view in bytes, a multiple of BlkSize. Blocks
// behind it read as zeros.
func (f *File) Size(ctx context.Context) (int64, error) {
	size, err := f.size(ctx)
	return size, f.h.c.wrap(err, "size of f<%s>", f.h.oid)
}

func (f *File) size(ctx context.Context) (int64, error) {
	_, done, err := f.use(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	fd, err := f.h.c.w.open(fmt.Sprintf("@%s/bigfile/%s", f.h.c.at, f.h.oid), unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	size, _, err := stat(fd)
	return size, err
}

// use is Conn.use for what needs the file.
func (f *File) use(ctx context.Context) (_ context.Context, done func(), err error) {
	ctx, doneConn, err := f.h.c.use(ctx)
	if err != nil {
		if errors.Is(err, ErrClosed) {
			err = fmt.Errorf("%w: %w", ErrFileClosed, err)
		}
		return nil, nil, err
	}
	f.h.inUse.RLock()
	done = func() {
		f.h.inUse.RUnlock()
		doneConn()
	}
	if f.closed.Load() {
		done()
		return nil, nil, ErrFileClosed
	}
	return ctx, done, nil
}

// Close closes f. With the last File of an oid its mappings fault. A second
// Close does nothing, and so does one after the Conn was closed.
func (f *File) Close() error {
	if f.closed.Swap(true) {
		return nil
	}
	c := f.h.c
	ctx, done, err := c.use(context.Background())
	if err != nil {
		return nil // the Conn has done it
	}
	defer done()
	if !c.unref(f.h) {
		return nil
	}
	if err := f.h.close(ctx); err != nil && c.ctx.Err() == nil {
		c.close(err)
		<-c.dark
		return c.wrap(err, "close f<%s>", f.h.oid)
	}
	return nil
}

// close ends mappings and watch. After an error the Conn has to be closed.
func (h *handle) close(ctx context.Context) error {
	h.inUse.Lock() // nobody comes any more, as all Files are closed
	defer h.inUse.Unlock()
	if errno := h.c.pinner.faultFile(h.index); errno != 0 {
		return errnoError("unmap", errno)
	}
	if err := h.c.unwatch(ctx, h.oid); err != nil {
		return err
	}
	h.drop(true)
	return nil
}
