package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/served"
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
	head     *Head
	old, tid zodb.Tid
	oids     []zodb.Oid
	changed  map[zodb.Oid]struct{} // the same
	files    []*change             // those that are there from the beginning
	byOid    map[zodb.Oid]*change  // the same
	fresh    []*change             // those that were opened meanwhile
	start    time.Time
}

// change is what a transaction does to one file.
type change struct {
	tx       *transaction
	file     *File
	kernel   Kernel  // nil: the kernel did not know the file
	blksize  int64   // of the file
	delta    *delta  // nil: nothing that is served or registered
	late     []int64 // blocks that have to be settled; until then they count as changed
	newTable bool    // the file got another block table: all of these changed
	dropped  int     // ranges of pages that were invalidated
	end      int64   // from here on all pages are invalid, since the size changed; -1: it did not
}

// Commit takes in one transaction; package core has the order of the steps. It
// returns when the transaction is published, or is to be together with the next
// one (Event.More). There is one Commit at a time.
func (h *Head) Commit(ctx context.Context, event storage.Event) error {
	t := h.begin(event) // c1
	if err := t.retry(ctx, func() error { return t.diff(ctx) }); err != nil {
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
	for _, c := range t.all() { // the end of c6
		if err := t.retry(ctx, func() error { return c.settle(ctx) }); err != nil {
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

// begin is the first part of c1: views up to the transaction can be walked from here on,
// blocks that are served are late, and no rest of a block is stored.
func (h *Head) begin(event storage.Event) *transaction {
	t := &transaction{
		head: h, old: h.objs.Head(), tid: event.Tid, oids: event.Oids,
		changed: make(map[zodb.Oid]struct{}, len(event.Oids)),
		byOid:   make(map[zodb.Oid]*change),
		start:   time.Now(),
	}
	for _, oid := range event.Oids {
		t.changed[oid] = struct{}{}
	}
	h.objs.Append(event.Tid, event.Oids)
	h.mu.Lock()
	h.committing, h.pending = true, t.tid
	h.fresh = nil
	for _, f := range h.files {
		c := &change{tx: t, file: f}
		t.files, t.byOid[f.Oid] = append(t.files, c), c
	}
	h.mu.Unlock()
	for _, c := range t.files {
		c.file.mu.Lock()
		c.file.prepare()
		c.file.mu.Unlock()
	}
	return t
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
			t.head.cfg.Observer.Warnf("transaction @%s: %s; trying again", t.tid, err)
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
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.delta.whole() || c.delta.Size < f.served().Size { // a store behind the end would make it longer again
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
	h.committing = false
	fresh := h.fresh
	h.fresh = nil
	h.mu.Unlock()
	for _, f := range fresh {
		c := &change{tx: t, file: f}
		if err := t.retry(ctx, func() error { return c.diffFresh(ctx) }); err != nil {
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
	f, d := c.file, c.delta
	f.mu.Lock()
	was := f.served().Size
	if d != nil && d.form != nil {
		f.form = d.form
	}
	c.switchServed()
	c.noteKernel()
	c.end = -1
	if size := f.served().Size; size != was {
		c.end = min(size, was)
		f.resized()
		f.show(size)
	}
	f.noStore, f.cutting, f.growing = false, false, false
	if f.closing != nil {
		f.closing = nil
		f.broadcast()
	}
	if d != nil && d.touched() {
		f.rev = t.tid
	}
	fence := d != nil && d.fence != nil
	if fence {
		// The cause is told, but not wrapped: it would say "no such object".
		f.fenced = fmt.Errorf("%w: %s", errAnotherFile, d.fence)
		t.head.indexed(func(x *served.Index) { x.Leave(f.Oid) })
		f.broadcast()
	}
	f.mu.Unlock()
	if fence {
		t.head.cfg.Observer.Warnf("%s; what is open of it answers EIO from now on, others are not touched", d.fence)
		t.head.mu.Lock()
		delete(t.head.files, f.Oid)
		t.head.mu.Unlock()
	}
	if d != nil && d.broken != nil {
		t.head.cfg.Observer.Warnf("file %s @%s: %s; its cache is dropped", f.Oid, t.tid, d.broken)
	}
}

// noteKernel notes how to reach the kernel about the file. It has no pages from before the
// switch of a file that it did not know then.
func (c *change) noteKernel() {
	c.file.mu.MustHold()
	c.kernel, c.blksize = c.file.kernel, c.file.served().Obj.BlkSize
}

// switchServed makes what is served of the file that of the new view.
func (c *change) switchServed() {
	f, d, broken := c.file, c.delta, c.tx.head.broken
	f.mu.MustHold()
	tail := f.head.objs.Tail()
	if d == nil {
		c.late = f.served().Switch(c.tx.tid, tail, nil, f.relink)
		return
	}
	c.newTable = d.Obj.Table != f.served().Obj.Table
	if d.resize {
		delete(broken, f)
		if d.broken != nil {
			broken[f] = struct{}{}
		}
	}
	if d.fence != nil {
		delete(broken, f)
	}
	c.late = f.served().Switch(c.tx.tid, tail, &d.Delta, f.relink)
	if d.whole() {
		f.dropAll()
		c.late = nil
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
	if h.revs.Floor() < before(tid, h.cfg.KeepFloor) {
		h.revs.SetFloor(cut)
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
