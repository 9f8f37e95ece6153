package head

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// The kernel changes the size of a file when it is told another one in the answer to
// a LOOKUP or GETATTR. It then drops what is cached behind the new end, and waits for
// pages there that are being read (truncate_pagecache in fuse_change_attributes of
// Linux), while nobody can ask for attributes. So no READ of such a page may wait for
// a client:
//
//   - A file that becomes shorter lets the READs go that end behind the new end.
//   - Of a file that becomes longer the kernel is told first, and what it was told
//     before is invalidated. An answer that is still on its way then does not count
//     (attr_version in fs/fuse of Linux), when the first READ of what is new comes.
//   - A size that ends within a page is not told while a READ of that page is parked.
//     An answer that is on its way when such a READ comes makes the one who asked
//     wait as long as that READ does.

// show makes size what the kernel is told, and reports whether it was another.
// Requires: lock.
func (f *File) show(size int64) (changed bool) {
	if f.shown == size || f.isEndParked(size) {
		return false
	}
	f.shown = size
	return true
}

// isEndParked reports whether size is within a page of which a READ is parked.
// Requires: lock.
func (f *File) isEndParked(size int64) bool {
	if size%int64(os.Getpagesize()) == 0 {
		return false
	}
	for _, reads := range f.reads {
		for _, r := range reads {
			if !r.replying && !r.direct && r.span.lo <= size && size < r.span.hi {
				return true
			}
		}
	}
	return false
}

// resized lets the READs go that end behind the end of the file now. Requires: lock.
func (f *File) resized() {
	for _, reads := range f.reads {
		for _, r := range reads {
			if r.end > f.Size() && !r.replying {
				r.resized = true
				r.cancel()
			}
		}
	}
	f.broadcast()
}

// grow tells the kernel the size of files that become longer.
func (t *transaction) grow() error {
	for _, c := range t.all() {
		f := c.file
		f.Lock()
		grows := c.delta != nil && !c.whole && c.delta.Size > f.Size()
		told := grows && f.show(c.delta.Size)
		f.growing = grows && f.shown == c.delta.Size
		kernel := f.kernel
		f.Unlock()
		if !told || kernel == nil {
			continue
		}
		if err := kernel.InvalidateAttr(); err != nil {
			return fmt.Errorf("invalidate attributes: %w", err)
		}
	}
	return nil
}

// errGrowing makes a READ wait for the switch: what it asks for is there then.
var errGrowing = errors.New("the file is becoming longer")

// hasGrown reports whether there is nothing to wait for. Requires: lock.
func (f *File) hasGrown() bool { return !f.growing }

// ErrBehindEnd refuses a READ behind the end of a file that became shorter. The
// kernel does not know that yet, or it would not ask.
var ErrBehindEnd = fmt.Errorf("the array has become shorter: %w", syscall.EIO)

// behindEnd refuses a READ of pages behind the end if a client may map them that has
// data there: the kernel would make them pages of zeros, and show them as long as it
// has the old size (fuse_short_read of Linux). Requires: lock.
func (f *File) behindEnd(req Request) error {
	end := req.Off + int64(req.N)
	from := max(req.Off, pages(0, f.Size()).hi)
	switch {
	case from < end && !f.hasGrown():
		return errGrowing
	case req.Direct || from >= end || !f.mapsHead(from, end):
		return nil
	case req.Off < f.Size():
		return errReadAhead // what is before the end is asked for again
	}
	return ErrBehindEnd
}

// mapsHead reports whether the client of a watch of an older view may map some of
// [from, end) from head/. Requires: lock.
func (f *File) mapsHead(from, end int64) bool {
	blksize := f.Obj().BlkSize
	for w := range f.watches {
		for blk := from / blksize; blk*blksize < end && w.established && w.at < f.View(); blk++ {
			if w.mayMapHead(blk) {
				return true
			}
		}
	}
	return false
}
