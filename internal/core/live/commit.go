package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/versions"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Follow takes in every transaction that events gives, until ctx or the stream
// ends. An error other than that of ctx means that head/ must not be served any
// longer: nobody would learn what changes.
func (h *Head) Follow(ctx context.Context, events interface {
	NextEvent(ctx context.Context) (storage.Event, error)
}) error {
	for {
		event, err := events.NextEvent(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("watch the database: %w", err)
		}
		if err := h.Commit(ctx, event); err != nil && ctx.Err() == nil {
			return fmt.Errorf("process transaction @%s: %w", event.Tid, err)
		}
	}
}

// transaction is one commit being processed.
type transaction struct {
	head   *Head
	commit *versions.Commit
	tid    zodb.Tid
	files  []*change // those that are there from the beginning
	fresh  []*change // those that were opened meanwhile
	start  time.Time
}

// change is what a transaction does to one file.
type change struct {
	file    *File
	delta   *versions.Delta // nil: nothing that is served or registered
	late    versions.Late
	whole   bool  // all of the page cache is wrong
	dropped int   // ranges of pages that were invalidated
	end     int64 // from here on it is, since the size changed; -1: it did not
}

// Commit takes in one transaction; see the package comment for the order. It
// returns when the transaction is published, or is to be together with the next
// one (Event.More). There is one Commit at a time.
func (h *Head) Commit(ctx context.Context, event storage.Event) error {
	t := h.begin(event)
	if err := t.diff(ctx); err != nil { // c1
		return err
	}
	if err := t.drain(ctx); err != nil { // c2
		return err
	}
	t.preserve() // c3
	t.pinEarly(ctx, t.files)
	if err := t.switchAll(ctx); err != nil { // c4
		return err
	}
	if err := t.invalidate(ctx); err != nil { // c5, c6
		return err
	}
	for _, c := range t.all() {
		settle := func() error { return t.commit.Settle(ctx, c.file.File, c.late) }
		if err := t.retry(ctx, settle); err != nil {
			return err
		}
	}
	h.passed = append(h.passed, event.Tid)
	if !event.More {
		h.publish(h.passed) // c7
		h.passed = nil
	}
	t.report()
	if !event.More {
		h.forget(event.Tid) // c8
	}
	h.evictor.poke()
	h.keeper.poke()
	return nil
}

func (t *transaction) all() []*change { return append(t.files[:len(t.files):len(t.files)], t.fresh...) }

// begin is the first part of c1: from here on blocks that are served are late,
// and no rest of a block is stored.
func (h *Head) begin(event storage.Event) *transaction {
	t := &transaction{head: h, tid: event.Tid, commit: h.history.Begin(event.Tid, event.Oids), start: time.Now()}
	h.mu.Lock()
	h.commit, h.pending = t.commit, t.tid
	h.fresh = nil
	for _, f := range h.files {
		t.files = append(t.files, &change{file: f})
	}
	h.mu.Unlock()
	for _, c := range t.files {
		c.file.Lock()
		t.commit.Prepare(c.file.File)
		c.file.noStore = true
		c.file.Unlock()
	}
	return t
}

// diff is the rest of c1.
func (t *transaction) diff(ctx context.Context) error {
	return t.retry(ctx, func() error {
		deltas, err := t.commit.Diff(ctx)
		if err == nil {
			t.assign(deltas)
		}
		return err
	})
}

// retry tries again what failed because of the storage, within bounds: to take
// trouble for "no change" would serve stale data. A server that is away is waited for
// as long as it takes, and the storage tells of it.
func (t *transaction) retry(ctx context.Context, load func() error) error {
	deadline := time.Now().Add(t.head.cfg.Retry)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := load()
		switch {
		case isAway(err):
			deadline = time.Now().Add(t.head.cfg.Retry)
		case err == nil || time.Now().Add(wait).After(deadline):
			return err
		default:
			t.head.cfg.Warnf("transaction @%s: %s; trying again", t.tid, err)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// isAway reports whether err says that the server of the database is away.
func isAway(err error) bool {
	var away *storage.AwayError
	return errors.As(err, &away)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// assign gives each file its delta.
func (t *transaction) assign(deltas []*versions.Delta) {
	byFile := make(map[*versions.File]*versions.Delta, len(deltas))
	for _, d := range deltas {
		byFile[d.File] = d
	}
	for _, c := range t.files {
		c.setDelta(byFile[c.file.File])
	}
}

func (c *change) setDelta(d *versions.Delta) {
	c.delta = d
	c.whole = d != nil && (d.Fence != nil || d.Broken != nil)
}

// drain is c2: it waits for stores of what changed. READs go on meanwhile, with
// old data.
func (t *transaction) drain(ctx context.Context) error {
	for _, c := range t.files {
		if c.delta == nil {
			continue
		}
		for _, done := range c.storing() {
			select {
			case <-done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// storing returns the stores under way of blocks that changed.
func (c *change) storing() (waits []chan struct{}) {
	f := c.file
	f.Lock()
	defer f.Unlock()
	if c.whole {
		for _, done := range f.stores {
			waits = append(waits, done)
		}
		return waits
	}
	for _, blk := range c.delta.Changed {
		if done := f.stores[blk]; done != nil {
			waits = append(waits, done)
		}
	}
	return waits
}

// switchAll is c4. Files that were opened since begin are looked at first: no
// more of them come once the view has moved.
func (t *transaction) switchAll(ctx context.Context) error {
	h := t.head
	h.mu.Lock()
	h.view = t.tid
	h.commit = nil
	fresh := h.fresh
	h.fresh = nil
	h.mu.Unlock()
	for _, f := range fresh {
		c := &change{file: f}
		err := t.retry(ctx, func() error {
			delta, err := t.commit.DiffFresh(ctx, f.File)
			if err == nil {
				c.setDelta(delta)
			}
			return err
		})
		if err != nil {
			return err
		}
		t.fresh = append(t.fresh, c)
	}
	t.pinEarly(ctx, t.fresh)
	if err := t.grow(ctx); err != nil {
		return err
	}
	for _, c := range t.all() {
		t.switchFile(c)
	}
	return nil
}

func (t *transaction) switchFile(c *change) {
	f := c.file
	f.Lock()
	was := f.Size()
	c.late = t.commit.Switch(f.File, c.delta)
	c.end = -1
	if f.Size() != was {
		c.end = min(f.Size(), was)
		f.resized()
		f.show(f.Size())
	}
	f.noStore, f.cutting, f.growing = false, false, false
	if f.closing != nil {
		f.closing = nil
		f.broadcast()
	}
	if c.delta != nil && c.delta.Touched() {
		f.rev = t.tid
	}
	fence := c.delta != nil && c.delta.Fence != nil
	if fence {
		// The cause is told, but not wrapped: it would say "no such object".
		f.fenced = fmt.Errorf("%w: %s", errAnotherFile, c.delta.Fence)
		f.Leave()
		f.broadcast()
	}
	f.Unlock()
	if fence {
		t.head.cfg.Warnf("%s; what is open of it answers EIO from now on, others are not touched", c.delta.Fence)
		t.head.mu.Lock()
		delete(t.head.files, f.Oid)
		t.head.mu.Unlock()
	}
	if c.delta != nil && c.delta.Broken != nil {
		t.head.cfg.Warnf("file %s @%s: %s; its cache is dropped", f.Oid, t.tid, c.delta.Broken)
	}
}

// forget is c8: it cuts history to what somebody may still ask for. History begins
// with a transaction that was the newest one at the cut: its view is the one that
// was served then. Idle watches do not make history grow for ever: what a watch has
// to pin is found without it, only more slowly.
func (h *Head) forget(tid zodb.Tid) {
	recent := before(tid, h.cfg.KeepHistory)
	h.mu.Lock()
	cut := recent
	for at := range h.reserved {
		cut = min(cut, at)
	}
	cut = h.objs.LastUpTo(cut)
	if h.cfg.MaxHistory > 0 {
		cut = max(cut, min(h.objs.Newest(h.cfg.MaxHistory), h.objs.LastUpTo(recent)))
	}
	h.kept = max(h.kept, cut)
	h.mu.Unlock()
	h.objs.Forget(cut)
	h.keepViews(cut)
	if h.history.Floor() < before(tid, h.cfg.KeepFloor) {
		h.history.SetFloor(cut)
	}
}

// keepViews tells a database that can be packed which views are in use.
func (h *Head) keepViews(from zodb.Tid) {
	if store, ok := h.store.(storage.Packed); ok {
		store.Keep(from)
	}
}

// before returns the tid of the moment d before the commit time of tid.
func before(tid zodb.Tid, d time.Duration) zodb.Tid {
	earlier := zodb.TidFromTime(tid.Time().Add(-d))
	if earlier > tid {
		return 0 // tids begin in the year 1900
	}
	return earlier
}
