package live

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// invalWorkers bounds the invalidations that run at a time. One that is
	// blocked does not count: see invalPatience.
	invalWorkers = 4

	// invalPatience is how long an invalidation may take before it is assumed
	// to be blocked by a READ that is parked, and is tried around it.
	invalPatience = 10 * time.Millisecond
)

// invalidate is c5 and c6. It returns when no page of what changed is left that
// is older than the transaction, except pages that are locked by parked READs,
// which will bring new data.
func (t *transaction) invalidate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.head.cfg.StuckAfter)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	slots := make(chan struct{}, invalWorkers)
	for _, c := range t.all() {
		if c.kernel == nil {
			continue
		}
		for _, s := range c.invalid() {
			c.dropped++
			slots <- struct{}{} // an invalidation gives it back, latest when it turns out to be blocked
			group.Go(func() error { return c.file.invalidate(ctx, c.kernel, s, func() { <-slots }) })
		}
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("invalidate: %w", err)
	}
	for _, c := range t.all() {
		if c.kernel != nil && c.delta != nil {
			if err := c.kernel.InvalidateAttr(); err != nil {
				return fmt.Errorf("invalidate attributes: %w", err)
			}
			if c.delta.fence != nil {
				t.head.gone(c.kernel)
			}
		}
	}
	return nil
}

// gone makes the kernel look up a file again that is another one now. The
// kernel may have to wait for a lookup that waits for the storage; we do not.
func (h *Head) gone(kernel Kernel) {
	done := make(chan struct{})
	h.loader.Go(func() {
		defer close(done)
		if err := kernel.Gone(); err != nil {
			h.cfg.Observer.Warnf("%s", err)
		}
	})
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

// invalid returns what of the page cache of the file is not right any more.
func (c *change) invalid() []span {
	header := span{-c.file.before, 0}
	switch {
	case c.delta.whole() && c.file.before > 0:
		return []span{header, {0, math.MaxInt64}}
	case c.delta.whole():
		return []span{{0, math.MaxInt64}}
	}
	blks := slices.Clone(c.late)
	if c.delta != nil {
		blks = append(blks, c.delta.Changed...)
	}
	slices.Sort(blks)
	var invalid []span
	for _, blk := range slices.Compact(blks) {
		invalid = append(invalid, pages(blk*c.blksize, (blk+1)*c.blksize))
	}
	if c.delta != nil && c.delta.form != nil {
		invalid = append(invalid, header)
	}
	if c.end >= 0 {
		// Also of the page that the end is in: what is behind it there were zeros.
		invalid = append(invalid, span{pages(c.end, c.end).lo, math.MaxInt64})
	}
	return invalid
}

// invalidate drops the pages of s, except those that are locked by parked READs
// at one moment after the switch: r3 and the gate make these load new data.
//
// The kernel works through a range in order and blocks at a page that is being
// read. The READ may have arrived only after the invalidation was issued, and
// be parked for long. So an invalidation that takes long is left behind, and a
// new one issued for what is not locked by parked READs by now. The
// invalidation that was left behind ends when those READs do, and does no
// harm.
//
// ran is called once: when s is done or turns out to be blocked.
func (f *File) invalidate(ctx context.Context, kernel Kernel, s span, ran func()) error {
	patient := true
	defer func() {
		if patient {
			ran()
		}
	}()
	pending := spans{s}
	done := make(chan error, 1) // the first result: pending only shrinks, so each covers it
	issued := false
	for {
		left := f.withoutParked(pending)
		if len(left) == 0 {
			return nil
		}
		if !issued || len(left) != len(pending) || !slices.Equal(left, pending) {
			pending, issued = left, true
			f.head.loader.Go(func() {
				select {
				case done <- invalidateAll(kernel, left):
				default:
				}
			})
		}
		timer := time.NewTimer(invalPatience)
		select {
		case err := <-done:
			timer.Stop()
			return err
		case <-timer.C:
			if patient {
				patient = false
				ran()
			}
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("file %s [%d, %d): blocked by the kernel: %w", f.Oid, s.lo, s.hi, ctx.Err())
		}
	}
}

func invalidateAll(kernel Kernel, ss spans) error {
	for _, s := range ss {
		if err := kernel.Invalidate(s.lo, s.hi-s.lo); err != nil {
			return err
		}
	}
	return nil
}

// withoutParked returns ss without the pages that parked READs keep locked.
func (f *File) withoutParked(ss spans) spans {
	f.mu.Lock()
	defer f.mu.Unlock()
	blksize := f.served().Obj.BlkSize
	for _, s := range ss {
		if s.lo < 0 || (s.hi-s.lo)/blksize >= int64(len(f.reads)) {
			return f.withoutAnyParked(ss)
		}
	}
	for _, s := range slices.Clone(ss) {
		for blk := s.lo / blksize; blk*blksize < s.hi; blk++ {
			for _, r := range f.reads[blk] {
				ss = r.cutFrom(ss)
			}
		}
	}
	return ss
}

func (f *File) withoutAnyParked(ss spans) spans {
	for _, reads := range f.reads {
		for _, r := range reads {
			ss = r.cutFrom(ss)
		}
	}
	return ss
}

// cutFrom returns ss without the pages that r keeps locked for long: a READ
// that is replying is waited for, and O_DIRECT locks none.
func (r *read) cutFrom(ss spans) spans {
	if r.replying || r.direct {
		return ss
	}
	return ss.subtract(r.span)
}
