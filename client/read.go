package client

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// ReadAt copies bytes from offset off of the file, as of the view, without
// mapping it. It does so in system calls: nothing faults, and failures are plain
// errors. The bytes behind the end of the file read as zeros, so that io.EOF is
// never returned; see Size. It implements io.ReaderAt, and panics if off is
// negative.
func (f *File) ReadAt(data []byte, off int64) (n int, err error) {
	if off < 0 {
		panic(fmt.Sprintf("client: read at offset %d", off))
	}
	_, done, err := f.use(context.Background())
	if err == nil {
		defer done()
		for n < len(data) && err == nil {
			blk := off / f.h.blksize
			piece := data[n:min(int64(len(data)), int64(n)+(blk+1)*f.h.blksize-off)]
			if err = f.h.readBlock(piece, blk, off); err == nil {
				n, off = n+len(piece), off+int64(len(piece))
			}
		}
	}
	return n, f.h.c.wrap(err, "read f<%s> at %d", f.h.oid, off)
}

// readBlock reads a part of one block. The view must be in use.
func (h *handle) readBlock(data []byte, blk, off int64) error {
	c := h.c
	switch rev, live := c.pinner.pinned(h.oid, blk); {
	case !live:
		return c.lost()
	case rev != toHead:
		return h.readPast(data, off, Tid(rev))
	case blk >= h.nblk:
		clear(data)
		return nil
	}
	n, err := pread(h.fd, data, off)
	if err != nil {
		return failed("read", err)
	}
	// The server gives out what is newer than the view only after it had the
	// block pinned. So only now is it known whether the data is of the view:
	// if pins were noted until now, and there is none.
	rev, live := c.pinner.pinned(h.oid, blk)
	if !live {
		return c.lost()
	}
	if rev != toHead {
		return h.readPast(data, off, Tid(rev))
	}
	if n < len(data) {
		return h.readPast(data[n:], off+int64(n), c.at) // head/ may have become shorter
	}
	return nil
}

// readPast reads from a past view, and zeros behind its end.
func (h *handle) readPast(data []byte, off int64, at Tid) error {
	fd, err := h.c.w.open(fmt.Sprintf("@%s/bigfile/%s", at, h.oid), unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n, err := pread(fd, data, off)
	if err != nil {
		return failed("read", err)
	}
	clear(data[n:])
	return nil
}
