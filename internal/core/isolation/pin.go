package isolation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/wire"
)

// pinError says why a pin failed.
type pinError struct {
	blk       int64
	rev       zodb.Tid // 0: there was nothing to pin to
	cause     error
	malformed bool      // the client refused, or said something else
	deadline  time.Time // until when it could have been acknowledged
}

func (e *pinError) Error() string {
	if e.rev == 0 {
		return e.cause.Error()
	}
	return fmt.Sprintf("pin #%d @%s: %s", e.blk, revText(e.rev), e.cause)
}

// timedOut reports whether a pin failed because time ran out.
func (e *pinError) timedOut() bool { return errors.Is(e.cause, context.DeadlineExceeded) }

func revText(rev zodb.Tid) string {
	if rev == live.ToHead {
		return "head"
	}
	return rev.String()
}

// wanted is a block that pins have to be sent for.
type wanted struct {
	watch *live.Watch
	blk   int64
}

// queue is blocks that wait for a sender, in order.
type queue struct {
	blocks  []wanted
	senders int
}

// Send implements live.Client: it leaves block blk of w to a sender. A pin that a READ
// waits for has a sender of its own, and so does not wait for anything else.
func (l *Link) Send(w *live.Watch, blk int64, urgent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q, most, send := &l.wanted, maxPins, l.sendPins
	if urgent {
		q, most, send = &l.urgent, 1, l.sendUrgent
	}
	if l.down {
		return
	}
	q.blocks = append(q.blocks, wanted{w, blk})
	if q.senders < most {
		q.senders++
		l.wg.Go(send)
	}
}

// next returns the next block of a queue. Without one the sender who asks ends.
func (l *Link) next(q *queue) (next wanted, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		q.blocks = nil
	}
	if len(q.blocks) == 0 {
		q.senders--
		return wanted{}, false
	}
	next, q.blocks = q.blocks[0], q.blocks[1:]
	return next, true
}

// turnTime is how long a pin that a READ waits for has the attention of the client to
// itself.
const turnTime = 200 * time.Millisecond

// sendUrgent sends what READs wait for, in order: the next one when the one before is
// answered. The client of wendelin.core holds the lock that its pinner needs while it
// waits for the answer to "watch <oid> -". It can take that answer behind one pin, which
// the pinner has then, but not behind two: nobody takes the second one. A client that
// was silent for turnTime is sent all, so that nobody waits for it longer than for one pin;
// it may hang by that, and is ended then.
func (l *Link) sendUrgent() {
	for {
		next, ok := l.next(&l.urgent)
		if !ok {
			return
		}
		l.room <- struct{}{} // an answer gives it back, or the end of the link
		answered := make(chan struct{})
		l.wg.Go(func() {
			defer func() { <-l.room }()
			defer close(answered)
			l.sendPinsOf(next.watch, next.blk)
		})
		l.awaitTurn(answered)
	}
}

// awaitTurn waits until the turn of a pin is over.
func (l *Link) awaitTurn(answered <-chan struct{}) {
	if l.slow.Load() {
		return
	}
	over := time.NewTimer(turnTime)
	defer over.Stop()
	select {
	case <-answered:
	case <-over.C:
		l.slow.Store(true)
	}
}

// Pid implements live.Process.
func (l *Link) Pid() int { return l.proc.Pid() }

// Lost implements live.Loser: the client has to go, since nothing can be pinned for
// w any more. It is told why before.
func (l *Link) Lost(w *live.Watch, err error) {
	cause := fmt.Errorf("watch f<%s>: %w", w.File().Oid, err)
	l.engine.cfg.Observer.Errorf("wlink %d: pid%d: %s", l.id, l.proc.Pid(), cause)
	l.shutdown(downLost, &pinError{cause: cause, deadline: time.Now().Add(l.engine.cfg.PinTimeout)})
}

// sendPins sends pins until nothing is wanted.
func (l *Link) sendPins() {
	for {
		next, ok := l.next(&l.wanted)
		if !ok {
			return
		}
		l.sendPinsOf(next.watch, next.blk)
	}
}

// sendPinsOf sends what is wanted for one block, one message after another.
func (l *Link) sendPinsOf(w *live.Watch, blk int64) {
	for l.ctx.Err() == nil {
		start := time.Now()
		m := l.put(w, blk)
		if m == nil {
			return
		}
		failure := l.answerTo(m)
		if failure != nil && l.forgive(m) {
			failure = nil
		}
		l.pinned(w.File().Oid, blk, m.failed.rev, start, failure)
		switch {
		case failure == nil:
			if time.Since(start) < turnTime {
				l.slow.Store(false)
			}
			w.Acked(blk)
		case l.ctx.Err() == nil: // else the link is down already, or the server stops
			l.shutdown(downPin, failure)
		}
	}
}

// message is a pin that was sent and is not answered.
type message struct {
	watch  *live.Watch
	stream uint64
	sent   time.Time
	reply  chan string // of capacity 1
	failed *pinError   // what the pin is if no answer comes

	// The fields below are guarded by Link.mu.
	gone    bool // the watch was removed meanwhile
	refused bool // the client has answered, but not that it is done
}

// put sends what block blk of w has to be pinned to. It returns nil if there is
// nothing to send, or not any more; and waits for a client that does not read, but
// not for ever.
func (l *Link) put(w *live.Watch, blk int64) (m *message) {
	turn := time.Now()
	deadline := turn.Add(l.engine.cfg.PinTimeout)
	ctx, cancel := context.WithDeadline(l.ctx, deadline)
	defer cancel()
	for {
		room := l.out.NextRoom()
		var refused zodb.Tid
		taking := w.Take(blk, func(rev zodb.Tid, since time.Time) bool {
			refused = rev
			m = l.message(w, blk, rev, since, turn)
			return m != nil
		})
		if taking != live.NoRoom {
			return m
		}
		select {
		case <-room:
		case <-ctx.Done():
			if l.ctx.Err() == nil {
				l.unread(&pinError{blk: blk, rev: refused, deadline: deadline, cause: ctx.Err()})
			}
			return nil
		}
	}
}

// unread shuts the link down since there was no room for a pin for too long.
func (l *Link) unread(failure *pinError) {
	l.mu.Lock()
	failure.cause = fmt.Errorf("sendReq: send .%d: %w", l.stream+2, failure.cause)
	l.mu.Unlock()
	l.shutdown(downPin, failure)
}

// message puts a pin into the output, and returns nil if there is no room. It is
// called with the lock of the file.
func (l *Link) message(w *live.Watch, blk int64, rev zodb.Tid, since, turn time.Time) *message {
	failed := &pinError{blk: blk, rev: rev, deadline: l.deadline(since, turn)}
	l.mu.Lock()
	defer l.mu.Unlock()
	stream := l.stream + 2
	if stream == 0 {
		stream = 2 // 0 is for control messages
	}
	f := wire.Frame{Stream: stream, Msg: wire.Pin(w.File().Oid, blk, revText(rev))}
	if l.down || !l.out.TryPut(f.Line()) {
		return nil
	}
	l.stream = stream
	m := &message{watch: w, stream: stream, sent: time.Now(), reply: make(chan string, 1), failed: failed}
	l.messages[stream] = m
	l.engine.pins.Add(1)
	return m
}

// deadline returns until when a message has to be answered that is sent now. If a READ
// waits, since then, the client has its time from when it was the turn of the message,
// whether it reads or not; but the READ waits for twice as long at most.
func (l *Link) deadline(since, turn time.Time) time.Time {
	limit := l.engine.cfg.PinTimeout
	if since.IsZero() {
		return time.Now().Add(limit)
	}
	if turn.Before(since) {
		turn = since
	}
	own, last := turn.Add(limit), since.Add(2*limit)
	if last.Before(own) {
		return last
	}
	return own
}

// answerTo waits for the answer to m, and returns how the pin has failed.
func (l *Link) answerTo(m *message) *pinError {
	ctx, cancel := context.WithDeadline(l.ctx, m.failed.deadline)
	defer cancel()
	select {
	case msg := <-m.reply:
		if msg == "ack" {
			return nil
		}
		return m.failed
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !m.refused {
		m.failed.cause = fmt.Errorf("sendReq: waiting for reply: %w", ctx.Err())
	}
	return m.failed
}

// forgive reports whether it does not matter how m has failed, since its watch is
// gone. Later answers to m do not matter either.
func (l *Link) forgive(m *message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !m.gone || l.down {
		return false
	}
	if _, open := l.messages[m.stream]; open {
		delete(l.messages, m.stream)
		l.forgiven = max(l.forgiven, m.stream)
	}
	return true
}

// forget makes the answers to all messages of w that are under way not matter.
func (l *Link) forget(w *live.Watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages {
		if m.watch == w {
			m.gone = true
		}
	}
}

// oldestMessage returns how the message that waits for longest has failed now
// that nobody can answer it.
func (l *Link) oldestMessage() (oldest *pinError) {
	l.mu.MustHold()
	for _, m := range l.messages {
		p := m.failed
		if m.refused && !m.gone {
			return p
		}
		if !m.gone && (oldest == nil || p.deadline.Before(oldest.deadline)) {
			oldest = &pinError{blk: p.blk, rev: p.rev, deadline: p.deadline,
				cause: fmt.Errorf("sendReq: waiting for reply: %w", context.Canceled)}
		}
	}
	return oldest
}
