package isolation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
)

var errTooMany = fmt.Errorf("more than %d requests in progress", maxRequests)

var errUnknownFile = errors.New("file not yet known to wcfs or is not a ZBigFile")

// request begins a request. Those of one file run one after another.
func (l *Link) request(f frame) {
	r, err := parseWatch(f.msg)
	if err != nil {
		l.goSend(frame{f.stream, "error " + err.Error()})
		return
	}
	l.mu.Lock()
	if l.down {
		l.mu.Unlock()
		return
	}
	if l.nreq == maxRequests {
		l.mu.Unlock()
		l.protocolError(errTooMany)
		return
	}
	l.nreq++
	if cancel := l.waiting[r.oid]; cancel != nil && r.remove {
		cancel()
	}
	queue, running := l.requests[r.oid]
	l.requests[r.oid] = append(queue, request{f.stream, r})
	if !running {
		l.wg.Go(func() { l.work(r.oid) })
	}
	l.mu.Unlock()
}

// goSend sends f from a goroutine of the link: who calls must not block.
func (l *Link) goSend(f frame) {
	l.mu.Lock()
	tooMany := !l.down && l.nreq == maxRequests
	if !l.down && !tooMany {
		l.nreq++
		l.wg.Go(func() {
			l.send(f)
			l.mu.Lock()
			l.nreq--
			l.mu.Unlock()
		})
	}
	l.mu.Unlock()
	if tooMany {
		l.protocolError(errTooMany)
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
		err := l.watch(r)
		if l.ctx.Err() == nil { // else nobody reads it
			l.send(frame{r.stream, answer(r, err)})
		}
		l.mu.Lock()
		l.nreq--
		l.mu.Unlock()
	}
}

// answer returns the reply to a request.
func answer(r request, err error) string {
	if err == nil {
		return "ok"
	}
	return fmt.Sprintf("error setup watch f<%s> @%s: %s", r.oid, r.at, err)
}

// watch sets up, moves or removes the watch of one file.
func (l *Link) watch(r request) error {
	h := l.engine.head
	l.mu.Lock()
	w := l.watches[r.oid]
	l.mu.Unlock()
	if r.remove {
		return l.unwatch(r.oid, w)
	}
	if err := l.waitAt(r); err != nil {
		return err
	}
	if err := h.Reaches(r.at); err != nil {
		return err
	}
	if w != nil {
		return w.Move(l.ctx, r.at)
	}
	unsure, err := l.drain(r.oid)
	if err != nil {
		return err
	}
	f := h.Known(r.oid)
	if f == nil {
		return errUnknownFile
	}
	err = f.Watch(l.ctx, l, r.at, unsure, func(watch *live.Watch) {
		l.mu.Lock()
		defer l.mu.Unlock()
		w, l.watches[r.oid] = watch, watch
		delete(l.removed, r.oid)
	})
	if err != nil && w != nil && l.ctx.Err() == nil {
		_ = l.unwatch(r.oid, w) // the file has ended: for the client there is no watch
	}
	return err
}

// waitAt waits until head has the view of r, or until the client wants to leave the
// file: that is answered at once, so nothing before it may wait for others.
func (l *Link) waitAt(r request) error {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	l.mu.Lock()
	queue := l.requests[r.oid]
	if slices.ContainsFunc(queue, func(later request) bool { return later.remove }) {
		cancel()
	}
	l.waiting[r.oid] = cancel
	l.mu.Unlock()
	err := l.engine.head.WaitAt(ctx, r.at)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, r.oid)
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
