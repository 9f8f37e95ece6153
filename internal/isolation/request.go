package isolation

import (
	"errors"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/head"
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
	if err := h.WaitAt(l.ctx, r.at); err != nil {
		return err
	}
	if err := h.Reaches(r.at); err != nil {
		return err
	}
	if w != nil {
		return w.Move(l.ctx, r.at)
	}
	f := h.Known(r.oid)
	if f == nil {
		return errUnknownFile
	}
	return f.Watch(l.ctx, l, r.at, func(w *head.Watch) {
		l.mu.Lock()
		l.watches[r.oid] = w
		l.mu.Unlock()
	})
}

// unwatch removes a watch. Nothing is sent for it once that is answered.
func (l *Link) unwatch(oid zodb.Oid, w *head.Watch) error {
	if w == nil {
		if l.engine.head.Known(oid) == nil {
			return errUnknownFile
		}
		return nil
	}
	err := w.Remove(l.ctx)
	l.mu.Lock()
	delete(l.watches, oid)
	l.mu.Unlock()
	return err
}
