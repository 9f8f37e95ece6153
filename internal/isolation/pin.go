package isolation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/head"
)

// pinError says why a pin failed.
type pinError struct {
	blk       int64
	rev       zodb.Tid
	cause     error
	malformed bool      // the client refused, or said something else
	deadline  time.Time // until when it could have been acknowledged
}

func (e *pinError) Error() string {
	return fmt.Sprintf("pin #%d @%s: %s", e.blk, revText(e.rev), e.cause)
}

func revText(rev zodb.Tid) string {
	if rev == head.ToHead {
		return "head"
	}
	return rev.String()
}

// wanted is a block that pins have to be sent for.
type wanted struct {
	watch *head.Watch
	blk   int64
}

// Send implements head.Client: it leaves block blk of w to a sender.
func (l *Link) Send(w *head.Watch, blk int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return
	}
	l.wanted = append(l.wanted, wanted{w, blk})
	if l.senders < maxPins {
		l.senders++
		l.wg.Go(l.sendPins)
	}
}

// nextWanted returns the next block for a sender. Without one the sender ends.
func (l *Link) nextWanted() (next wanted, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down || len(l.wanted) == 0 {
		l.wanted = nil
		l.senders--
		return wanted{}, false
	}
	next = l.wanted[0]
	l.wanted = l.wanted[1:]
	return next, true
}

// sendPins sends pins until nothing is wanted.
func (l *Link) sendPins() {
	for {
		next, ok := l.nextWanted()
		if !ok {
			return
		}
		l.sendPinsOf(next.watch, next.blk)
	}
}

// sendPinsOf sends what is wanted for one block, one message after another.
func (l *Link) sendPinsOf(w *head.Watch, blk int64) {
	for l.ctx.Err() == nil {
		rev, ok := w.Take(blk)
		if !ok {
			return
		}
		start := time.Now()
		err := l.pin(w.File().Oid, blk, rev)
		l.pinned(w.File().Oid, blk, rev, start, err)
		if err != nil {
			if l.ctx.Err() == nil {
				l.shutdown(downPin, "fatal: "+err.Error(), err)
			}
			return
		}
		w.Acked(blk)
	}
}

// pin sends one pin and waits for its acknowledgement.
func (l *Link) pin(oid zodb.Oid, blk int64, rev zodb.Tid) *pinError {
	failed := &pinError{blk: blk, rev: rev, deadline: time.Now().Add(l.engine.cfg.PinTimeout)}
	ctx, cancel := context.WithDeadline(l.ctx, failed.deadline)
	defer cancel()
	reply := make(chan string, 1)
	stream, ok := l.expect(&waiting{reply, failed})
	if !ok {
		failed.cause = ErrDown
		return failed
	}
	line := frame{stream, fmt.Sprintf("pin %s #%d @%s", oid, blk, revText(rev))}.line()
	if err := l.out.put(ctx, line); err != nil {
		failed.cause = fmt.Errorf("sendReq: send .%d: %w", stream, err)
		return failed
	}
	l.engine.pins.Add(1)
	select {
	case msg := <-reply:
		if msg == "ack" {
			return nil
		}
		failed.malformed = true
		failed.cause = fmt.Errorf("expect %q; got %q", "ack", msg)
	case <-ctx.Done():
		failed.cause = fmt.Errorf("sendReq: waiting for reply: %w", ctx.Err())
	}
	return failed
}

// waiting is a pin that waits for its acknowledgement.
type waiting struct {
	reply  chan<- string
	failed *pinError // what it is if that does not come
}

// expect returns the stream for a new pin, whose acknowledgement goes to reply.
func (l *Link) expect(reply *waiting) (stream uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return 0, false
	}
	l.stream += 2
	if l.stream == 0 {
		l.stream = 2 // 0 is for control messages
	}
	l.replies[l.stream] = reply
	return l.stream, true
}

// timedOut reports whether a pin failed because time ran out.
func (e *pinError) timedOut() bool { return errors.Is(e.cause, context.DeadlineExceeded) }
