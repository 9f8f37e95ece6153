package live

import (
	"context"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Watch sets up a watch of f at view at for client. It returns when the client
// has acknowledged all pins that this takes. at must be published. registered is
// called as soon as there is a watch, which is then the caller's to remove. Of the
// blocks unsure it is not known what the client maps (Drained), so it is told.
//
// Errors that the client should know are *TooFarBackError, *EpochError, and
// *storage.PackedError if a pack has left the view incomplete; then
// there is no watch.
func (f *File) Watch(ctx context.Context, client Client, at zodb.Tid, unsure []int64, registered func(*Watch)) error {
	w := &Watch{file: f, client: client, at: at, pins: make(map[int64]*pin)}
	for _, blk := range unsure {
		w.pins[blk] = &pin{want: unknown, acked: unknown}
	}
	if err := f.head.reserve(at); err != nil {
		return err
	}
	err := w.setup(ctx, at, func() error {
		f.watches[w] = struct{}{}
		return nil
	})
	if err != nil {
		f.head.release(at)
		return err
	}
	registered(w)
	return w.wait(ctx)
}

// Move moves the watch to view at, not older than the one before. After an
// error of the view, which can also be *GoingBackError, the watch is what it
// was.
func (w *Watch) Move(ctx context.Context, at zodb.Tid) error {
	h := w.file.head
	if err := h.reserve(at); err != nil {
		return err
	}
	unused := at
	err := w.setup(ctx, at, func() error {
		if at < w.at {
			return &GoingBackError{}
		}
		w.at, unused = at, w.at
		return nil
	})
	h.release(unused)
	if err != nil {
		return err
	}
	return w.wait(ctx)
}

// plan is what is known about the blocks that a setup has to decide about.
type plan struct {
	at      zodb.Tid
	pins    map[int64]zodb.Tid // revisions as of at; they never change
	newest  map[int64]zodb.Tid // revisions as of view
	view    zodb.Tid
	end     int64 // of the file as of at, in blocks
	now     int64 // end of the file as of view
	missing []int64
}

// lost reports whether a block was there as of at, and is behind the end now.
func (p *plan) lost(blk int64) bool { return p.now <= blk && blk < p.end }

// setup decides, under the lock, which blocks have to be pinned as of view at,
// and makes that the wanted state. register is called first in the same
// critical section; its error ends the setup. Revisions that have to be looked
// up are looked up before, without the lock.
func (w *Watch) setup(ctx context.Context, at zodb.Tid, register func() error) error {
	f := w.file
	if err := f.checkEpoch(ctx, at); err != nil {
		return err
	}
	p := &plan{at: at, pins: make(map[int64]zodb.Tid), newest: make(map[int64]zodb.Tid)}
	var err error
	if p.end, err = f.endAt(ctx, at); err != nil {
		return err
	}
	for {
		// A commit under way pins the blocks that it takes off the end, for the
		// watches that there are.
		if err := f.await(ctx, func() bool { return !f.cutting }); err != nil {
			return err
		}
		done, err := w.decide(p, register)
		if done || err != nil {
			return err
		}
		if err := f.complete(ctx, p); err != nil {
			return err
		}
	}
}

// checkEpoch fails if the file was not there at the view, or was another one
// since: what @at shows of it would not be this file.
func (f *File) checkEpoch(ctx context.Context, at zodb.Tid) error {
	if err := f.head.revs.Incomplete(f.Oid, at); err != nil {
		return err // sooner or later a pin would lead to what is gone
	}
	then, _, err := f.head.objs.File(ctx, zodb.Xid{At: at, Oid: f.Oid})
	if storage.IsNoData(err) {
		return &EpochError{Rev: f.head.objs.NextChange(f.Oid, at), Head: f.head.At()}
	}
	if err != nil {
		return fmt.Errorf("look at @%s: %w", at, err)
	}
	for tid := f.head.objs.NextChange(f.Oid, at); tid != 0; tid = f.head.objs.NextChange(f.Oid, tid) {
		now, _, err := f.head.objs.File(ctx, zodb.Xid{At: tid, Oid: f.Oid})
		if storage.IsNoData(err) || err == nil && now.BlkSize != then.BlkSize {
			return &EpochError{Rev: tid, Head: f.head.At()}
		}
		if err != nil {
			return fmt.Errorf("look at @%s: %w", tid, err)
		}
	}
	return nil
}

// decide sets what is wanted if p is complete, and otherwise notes what is
// missing of it.
func (w *Watch) decide(p *plan, register func() error) (done bool, err error) {
	f := w.file
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fenced != nil {
		return false, f.fenced
	}
	if f.cutting {
		p.missing = nil
		return false, nil
	}
	if lost := p.end - f.served().Size/f.served().Obj.BlkSize; lost > maxCutSetup {
		return false, &TooLongError{At: p.at, Lost: lost}
	}
	if view := f.served().View; view != p.view {
		clear(p.newest) // of another view
		p.view = view
	}
	changed, missing := w.changedBlocks(p)
	if len(missing) > 0 {
		p.missing = missing
		return false, nil
	}
	if err := register(); err != nil {
		return false, err
	}
	for blk := range w.pins {
		if _, ok := changed[blk]; !ok {
			w.setWant(blk, ToHead)
		}
	}
	for blk, rev := range changed {
		w.setWant(blk, rev)
	}
	f.broadcast() // the new view may allow what READs wait for
	return true, nil
}

// changedBlocks returns the blocks that changed in (at, view], with what they have to be
// pinned to, or those about which p does not know enough. Of interest are those that are
// served or pinned. Behind the end all of what the file had then counts as changed: the
// client cannot map it from head/.
func (w *Watch) changedBlocks(p *plan) (changed map[int64]zodb.Tid, missing []int64) {
	w.file.mu.MustHold()
	f := w.file
	changed = make(map[int64]zodb.Tid)
	p.now = f.served().Size / f.served().Obj.BlkSize
	look := func(blk int64) {
		newest, ok := p.newest[blk]
		if rev, known := f.known(blk, p.view); known {
			newest, ok = rev.Tid, true
		}
		pin, okPin := p.pins[blk]
		switch {
		case ok && newest <= p.at && !p.lost(blk):
			return
		case ok && okPin:
			changed[blk] = pin
		default:
			missing = append(missing, blk)
		}
	}
	for _, blk := range f.served().ChangedSince(p.at) {
		look(blk)
	}
	for blk := range w.pins {
		if !f.served().Has(blk) && !p.lost(blk) {
			look(blk)
		}
	}
	for blk := p.now; blk < p.end; blk++ {
		look(blk)
	}
	return changed, missing
}

// complete looks up what is missing in p, holding nothing.
func (f *File) complete(ctx context.Context, p *plan) error {
	for _, blk := range p.missing {
		rev, err := f.changedAt(ctx, blk, p.view)
		if err != nil {
			return err
		}
		p.newest[blk] = rev
		if _, ok := p.pins[blk]; ok || rev <= p.at && !p.lost(blk) {
			continue
		}
		if p.pins[blk], err = f.pinAt(ctx, blk, p.at); err != nil {
			return err
		}
	}
	return nil
}

// wait waits until the client maps all that it should, and makes the watch
// established.
func (w *Watch) wait(ctx context.Context) error {
	return w.file.await(ctx, func() bool {
		for _, p := range w.pins {
			if !p.settled() {
				return false
			}
		}
		w.established = true
		return true
	})
}
