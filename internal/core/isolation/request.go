package isolation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/wire"
)

var errTooMany = fmt.Errorf("more than %d requests in progress", maxRequests)

var errUnknownFile = errors.New("file not yet known to wcfs or is not a ZBigFile")

// request begins a request. Those of one file run one after another.
func (l *Link) request(f wire.Frame) {
	r, err := wire.ParseWatch(f.Msg)
	l.mu.Lock()
	tooMany := !l.down && l.nreq == maxRequests
	switch {
	case l.down || tooMany:
	case err != nil: // it is answered elsewhere: who calls must not block
		l.nreq++
		l.wg.Go(func() { l.reply(f.Stream, "error "+err.Error()) })
	default:
		l.nreq++
		l.enqueue(request{f.Stream, r})
	}
	l.mu.Unlock()
	if tooMany {
		l.protocolError(errTooMany)
	}
}

// enqueue leaves a request to the worker of its file.
func (l *Link) enqueue(r request) {
	l.mu.MustHold()
	if cancel := l.waiting[r.Oid]; cancel != nil && r.Remove {
		cancel()
	}
	queue, running := l.requests[r.Oid]
	l.requests[r.Oid] = append(queue, r)
	if !running {
		l.wg.Go(func() { l.work(r.Oid) })
	}
}

// work runs the requests of one file until there are no more.
func (l *Link) work(oid zodb.Oid) {
	for {
		l.mu.Lock()
		queue := l.requests[oid]
		if len(queue) == 0 || l.down {
			delete(l.requests, oid)
			l.mu.Unlock()
			return
		}
		r := queue[0]
		l.requests[oid] = queue[1:]
		l.mu.Unlock()
		l.reply(r.stream, answer(r, l.watch(r)))
	}
}

// reply sends the answer to a request, which is done with that.
func (l *Link) reply(stream uint64, msg string) {
	if l.ctx.Err() == nil { // else nobody reads it
		l.send(wire.Frame{Stream: stream, Msg: msg})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nreq--
}

// answer returns the reply to a request.
func answer(r request, err error) string {
	if err == nil {
		return "ok"
	}
	return fmt.Sprintf("error setup watch f<%s> @%s: %s", r.Oid, r.At, err)
}

// watch sets up, moves or removes the watch of one file.
func (l *Link) watch(r request) error {
	h := l.engine.head
	l.mu.Lock()
	w := l.watches[r.Oid]
	l.mu.Unlock()
	if r.Remove {
		return l.unwatch(r.Oid, w)
	}
	if err := l.waitAt(r); err != nil {
		return err
	}
	if err := h.Reaches(r.At); err != nil {
		return err
	}
	if w != nil {
		return w.Move(l.ctx, r.At)
	}
	unsure, err := l.drain(r.Oid)
	if err != nil {
		return err
	}
	f := h.Known(r.Oid)
	if f == nil {
		return errUnknownFile
	}
	err = f.Watch(l.ctx, l, r.At, unsure, func(watch *live.Watch) {
		l.mu.Lock()
		defer l.mu.Unlock()
		w, l.watches[r.Oid] = watch, watch
		delete(l.removed, r.Oid)
	})
	if err != nil && w != nil && l.ctx.Err() == nil {
		_ = l.unwatch(r.Oid, w) // the file has ended: for the client there is no watch
	}
	return err
}

// waitAt waits until head has the view of r, or until the client wants to leave the
// file: that is answered at once, so nothing before it may wait for others.
func (l *Link) waitAt(r request) error {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	l.mu.Lock()
	queue := l.requests[r.Oid]
	if slices.ContainsFunc(queue, func(later request) bool { return later.Remove }) {
		cancel()
	}
	l.waiting[r.Oid] = cancel
	l.mu.Unlock()
	err := l.engine.head.WaitAt(ctx, r.At)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, r.Oid)
	return err
}

// unwatch removes a watch. Nothing is sent for it once that is answered, and the
// answer waits for nothing: the client may hold, while it waits for the answer,
// what it needs to acknowledge a pin.
func (l *Link) unwatch(oid zodb.Oid, w *live.Watch) error {
	if w == nil {
		if l.engine.head.Known(oid) == nil {
			return errUnknownFile
		}
		return nil
	}
	w.Drop()
	l.forget(w)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watches, oid)
	l.removed[oid] = w
	return nil
}

// drain waits until the messages of a watch of the file that was removed are
// answered, or their time is over: an answer must not be taken for one of a new
// watch. It returns their blocks.
func (l *Link) drain(oid zodb.Oid) (unsure []int64, err error) {
	l.mu.Lock()
	w := l.removed[oid]
	l.mu.Unlock()
	if w == nil {
		return nil, nil
	}
	return w.Drained(l.ctx)
}
