package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// The kernel changes the size of a file when it is told another one in the answer to
// a LOOKUP or GETATTR. It then drops what is cached behind the new end, and waits for
// pages there that are being read (truncate_pagecache in fuse_change_attributes of
// Linux), while nobody can ask for attributes. So no READ of such a page may wait for
// a client:
//
//   - A file that becomes shorter lets the READs go that end behind the new end.
//   - Of a file that becomes longer the kernel is told first. An answer to GETATTR is
//     not enough: stat shows the size that it has, but the kernel takes it in only if
//     no invalidation of the file came while it was on its way (attr_version in fs/fuse
//     of Linux). Whoever then touched what stat had told would get SIGBUS, and there is
//     an invalidation in each commit. A store into the page that the new end is in
//     tells the size whatever comes (fuse_notify_store). It waits for that page, so
//     it must not be locked: see announcing.
//   - A size that ends within a page is not told while a READ of that page is parked.
//     An answer that is on its way when such a READ comes makes the one who asked
//     wait as long as that READ does; and so does one about an end that the file has
//     passed again before the kernel has dropped all that was behind it.
//   - The rest of the page that an end is in is cleared, too, and that must not happen to a
//     page that shows more since. Arrays end anywhere: so the size of an array moves only when
//     the kernel has cleared what is behind the last one. See clear.

// show makes size what the kernel is told, and reports whether it was another.
func (f *File) show(size int64) (changed bool) {
	f.mu.MustHold()
	if f.shown == size || f.isEndParked(size) {
		return false
	}
	f.shown = size
	return true
}

// isEndParked reports whether size is within a page of which a READ is parked.
func (f *File) isEndParked(size int64) bool {
	f.mu.MustHold()
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

// resized lets the READs go that end behind the end of the file now.
func (f *File) resized() {
	f.mu.MustHold()
	for _, reads := range f.reads {
		for _, r := range reads {
			if r.end > f.served().Size && !r.replying {
				r.resized = true
				r.cancel()
			}
		}
	}
	f.broadcast()
}

// grow tells the kernel the size of files that become longer.
func (t *transaction) grow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.head.cfg.StuckAfter)
	defer cancel()
	patience, enough := context.WithTimeout(ctx, min(clearPatience, t.head.cfg.StuckAfter/3)) // for all arrays together
	defer enough()
	for _, c := range t.all() {
		if c.delta == nil || c.delta.whole() {
			continue
		}
		if err := c.file.clear(ctx, patience, c.delta.Size); err != nil {
			return fmt.Errorf("have the kernel clear what is behind the end of %s: %w", c.file.Oid, err)
		}
		if err := c.file.grow(ctx, c.delta.Size); err != nil {
			return fmt.Errorf("tell the kernel the size of %s: %w", c.file.Oid, err)
		}
	}
	return nil
}

// clear waits until the kernel has cleared the rest of the page that the end of an array is
// in, before the size moves. A thread that was told that end waits for READs of the page, and
// for all that came before it (folio_lock of Linux). So an invalidation of the page comes after
// that thread, and an answer that the kernel takes in when that has begun does not count.
//
// Nothing that a READ of an array waits for waits for this, but for READs of views that a pack
// has overtaken. When patience is over, the invalidation is left behind, and drops the page
// whenever it can.
func (f *File) clear(ctx, patience context.Context, size int64) error {
	f.mu.Lock()
	kernel, end := f.kernel, f.shown
	page := pages(end, end+1)
	if f.before == 0 || kernel == nil || size == f.served().Size || page.lo == end {
		f.mu.Unlock()
		return nil
	}
	f.clearing = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.clearing = false
		f.broadcast()
		f.mu.Unlock()
	}()
	if err := kernel.InvalidateAttr(); err != nil {
		return err
	}
	done := make(chan error, 1)
	f.head.loader.Go(func() { done <- kernel.Invalidate(page.lo, page.hi-page.lo) })
	select {
	case err := <-done:
		return err
	case <-patience.Done():
		return ctx.Err()
	}
}

// clearPatience is how long a commit waits for READs of the pages that arrays end in. They
// take as long as the database needs for a block.
const clearPatience = 3 * time.Second

// grow tells the kernel a larger size, and makes READs of what is new wait for the
// switch.
func (f *File) grow(ctx context.Context, size int64) error {
	f.mu.Lock()
	from, page := f.pastEnd(), pages(size-1, size)
	kernel := f.kernel
	switch {
	case size <= f.served().Size:
		f.mu.Unlock()
		return nil
	case kernel == nil || page.lo < from:
		told := f.show(size)
		f.growing = f.shown == size
		f.mu.Unlock()
		if !told || kernel == nil {
			return nil
		}
		return kernel.InvalidateAttr()
	}
	f.announcing = true
	f.letGo(from)
	f.mu.Unlock()
	err := f.extend(ctx, kernel, size)
	f.mu.Lock()
	f.shown, f.growing, f.announcing = size, err == nil, false
	f.broadcast()
	f.mu.Unlock()
	return err
}

// extend makes the kernel take the file for as long as size. An answer that is on its way
// must not count even if the kernel takes it for that long already.
func (f *File) extend(ctx context.Context, kernel Kernel, size int64) error {
	if err := kernel.InvalidateAttr(); err != nil {
		return err
	}
	done := make(chan error, 1)
	f.head.loader.Go(func() { done <- kernel.Extend(size) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pastEnd returns where the pages begin that are behind the end.
func (f *File) pastEnd() int64 {
	f.mu.MustHold()
	return pages(0, f.served().Size).hi
}

// letGo refuses read-ahead that keeps pages from an offset behind the end on locked: the
// kernel takes the file for longer than it is.
func (f *File) letGo(from int64) {
	f.mu.MustHold()
	for _, reads := range f.reads {
		for _, r := range reads {
			if !r.direct && r.span.hi > from && !r.resized { // else it ends in any case
				r.refused = errReadAhead
				r.cancel()
			}
		}
	}
}

// announcePatience is how long a READ behind the end waits until the kernel knows the
// new one. It usually does at once, but not if it waits for just the page of that READ.
const announcePatience = 10 * time.Millisecond

// errGrowing makes a READ wait for the switch: what it asks for is there then.
var errGrowing = errors.New("the file is becoming longer")

// errEndGrows makes a READ of the page with the end wait, too: the kernel would take its
// end for that of the file (fuse_short_read of Linux).
var errEndGrows = errors.New("the page with the end is becoming longer")

// awaitGrowth waits for what a READ behind the end asks for, or for the rest of the page
// with the end.
func (f *File) awaitGrowth(ctx context.Context, req Request, ofEnd bool) error {
	if !req.Direct && !ofEnd {
		short, cancel := context.WithTimeout(ctx, announcePatience)
		defer cancel()
		err := f.await(short, func() bool { return !f.announcing })
		if ctx.Err() == nil && short.Err() != nil && err != nil {
			return ErrBehindEnd // nobody was told yet that there is more
		}
	}
	return f.await(ctx, f.hasGrown)
}

// hasGrown reports whether there is nothing to wait for.
func (f *File) hasGrown() bool {
	f.mu.MustHold()
	return !f.growing && !f.announcing
}

// ErrBehindEnd refuses a READ behind the end of a file that became shorter. The
// kernel does not know that yet, or it would not ask.
var ErrBehindEnd = fmt.Errorf("the array has become shorter: %w", syscall.EIO)

// behindEnd refuses a READ of pages behind the end if a client may map them that has data
// there: the kernel would make them pages of zeros, and show them as long as it has the
// old size (fuse_short_read of Linux).
func (f *File) behindEnd(req Request) error {
	f.mu.MustHold()
	end := req.Off + int64(req.N)
	from := max(req.Off, f.pastEnd())
	switch {
	case from < end && !f.hasGrown():
		return errGrowing
	case f.served().Size < end && !f.hasGrown() && !req.Direct:
		return errEndGrows
	case req.Direct || from >= end || !f.mapsHead(from, end):
		return nil
	case req.Off < f.served().Size:
		return errReadAhead // what is before the end is asked for again
	}
	return ErrBehindEnd
}

// mapsHead reports whether the client of a watch of an older view may map some of [from,
// end) from head/.
func (f *File) mapsHead(from, end int64) bool {
	f.mu.MustHold()
	blksize := f.served().Obj.BlkSize
	for w := range f.watches {
		for blk := from / blksize; blk*blksize < end && w.established && w.at < f.served().View; blk++ {
			if w.mayMapHead(blk) {
				return true
			}
		}
	}
	return false
}
