package client

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Resync moves c and all its mappings to another view, which must not be older
// and may be Head. While it runs, what is mapped shows a mixture of both views:
// nobody should look at it. Other calls wait.
//
// After an error, other than that of ctx before the server shows the view, c is
// closed: there is no way back. Errors: ErrGoingBack, *ServerError, ErrBadFile,
// ErrPin, ErrClosed, that of ctx.
func (c *Conn) Resync(ctx context.Context, at Tid) error {
	ctx, done, err := c.acquire(ctx, viewAll)
	if err != nil {
		return c.wrap(err, "resync @%s", at)
	}
	defer done()
	if at == Head {
		if at, err = c.w.Head(); err != nil {
			return c.wrap(err, "resync @%s", at)
		}
	}
	before := c.At()
	if at >= before {
		if _, err := c.w.waitHead(ctx, at); err != nil {
			return c.wrap(err, "resync @%s", at)
		}
		err = c.move(ctx, at)
	} else {
		err = ErrGoingBack
	}
	if err == nil {
		return nil
	}
	c.close(err)
	<-c.dark
	return c.wrap(err, "resync @%s -> @%s", before, at)
}

// move moves all files to a view that the server shows. All of Conn.view must be
// acquired.
func (c *Conn) move(ctx context.Context, at Tid) error {
	c.mu.Lock()
	c.at = at
	var open []*handle
	for _, h := range c.files {
		if !h.closing {
			open = append(open, h)
		}
	}
	c.mu.Unlock()
	for _, h := range open {
		if err := h.resize(); err != nil {
			return fmt.Errorf("f<%s>: %w", h.oid, err)
		}
	}
	var g errgroup.Group
	g.SetLimit(maxPending)
	for _, h := range open {
		g.Go(func() error {
			reply, err := c.sendWatch(h.oid, at)
			if err == nil {
				err = wait(ctx, "watch", reply)
			}
			if err != nil {
				return fmt.Errorf("f<%s>: %w", h.oid, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// resize maps what a new size of the file in head/ changes.
func (h *handle) resize() error {
	p := h.c.pinner
	size, blksize, err := stat(h.fd)
	if err != nil {
		return err
	}
	if blksize != h.blksize {
		return fmt.Errorf("%w: blksize changed: %d -> %d", ErrBadFile, h.blksize, blksize)
	}
	// Blocks that were pinned since the end was missing in head/ are looked
	// at anew.
	if err := errnoError("unpin the end", p.unpinOwn(h.index)); err != nil {
		return err
	}
	h.nblk = size / blksize
	if err := errnoError("map the end", p.resize(h.index, h.nblk)); err != nil {
		return err
	}
	return h.pinTail()
}
