package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// ToHead is the revision of a pin that says "map the block from head again".
const ToHead zodb.Tid = math.MaxUint64

// unknown is where a client maps a block from of which nobody can tell: from head,
// or from any revision.
const unknown zodb.Tid = 0

// Client sends pins.
type Client interface {
	// Send is told that Take has something for block blk of w. urgent says that
	// a READ waits for it, which it may do after an earlier call that was not.
	// Send is called with the lock of the file and must not block or call back.
	Send(w *Watch, blk int64, urgent bool)
}

// Loser is a Client that can be told that a watch is lost.
type Loser interface {
	// Lost is told that w cannot be kept up: what it shows is gone from the
	// database. Until the client drops the watch, READs are held back that it must
	// not see. It is called without locks and must not block.
	Lost(w *Watch, err error)
}

// Watch says that a client wants to see a file as of At. The client is told
// block by block what to map instead of head, and only for blocks that the page
// cache has: a block is pinned when somebody reads it, or when the watch is set
// up.
//
// There is one wanted state per block, decided under the lock of the file, and
// one message of a block under way at a time. So a pin that was overtaken is
// never sent.
type Watch struct {
	file   *File
	client Client

	// The fields below are guarded by the lock of the file.
	at          zodb.Tid
	established bool // the client was told so once: before that it maps nothing
	removed     bool // by the client, or with it
	overdue     bool // a commit has waited for the client in vain, and it has not answered since
	pins        map[int64]*pin
	unsure      []int64 // blocks with a message under way when the watch was removed
}

// pin is where a client maps one block from, and should.
type pin struct {
	want    zodb.Tid
	acked   zodb.Tid
	message zodb.Tid  // under way, if taken
	taken   bool      // a message was sent and is not acked yet
	sending bool      // the client was told to send
	urgent  bool      // and that a READ waits
	since   time.Time // from when on a READ waits for what is wanted; zero: none does
}

// settled reports whether the client maps what it should.
func (p *pin) settled() bool { return p.want == p.acked && !p.taken }

// File returns what is watched.
func (w *Watch) File() *File { return w.file }

// pinOf returns the pin of blk, which is new if the client maps the block from head.
func (w *Watch) pinOf(blk int64) *pin {
	w.file.mu.MustHold()
	p := w.pins[blk]
	if p == nil {
		p = &pin{want: ToHead, acked: ToHead}
		w.pins[blk] = p
	}
	return p
}

// setWant makes rev what the client should map.
func (w *Watch) setWant(blk int64, rev zodb.Tid) {
	w.file.mu.MustHold()
	p := w.pinOf(blk)
	if p.want != rev {
		p.want, p.since = rev, time.Time{}
	}
	w.prompt(blk, p)
}

// need is setWant for a READ. If the READ has to wait, the client is told before whatever
// nobody waits for.
func (w *Watch) need(blk int64, rev zodb.Tid) {
	w.file.mu.MustHold()
	p := w.pinOf(blk)
	p.want = rev
	if w.established && p.since.IsZero() && !p.settled() {
		p.since = time.Now()
	}
	w.prompt(blk, p)
}

// prompt has the client told what is wanted.
func (w *Watch) prompt(blk int64, p *pin) {
	w.file.mu.MustHold()
	urgent := !p.since.IsZero()
	if p.want != p.acked && (!p.sending || urgent && !p.urgent) {
		p.sending, p.urgent = true, urgent
		w.client.Send(w, blk, urgent)
	}
	w.tidy(blk, p)
}

// tidy drops a pin that says nothing.
func (w *Watch) tidy(blk int64, p *pin) {
	w.file.mu.MustHold()
	if p.want == ToHead && p.acked == ToHead && !p.taken && !p.sending {
		delete(w.pins, blk)
	}
}

// Taking is the outcome of Take.
type Taking int

const (
	Nothing Taking = iota // nothing is to be sent, or somebody else sends it
	Taken                 // the message is under way
	NoRoom                // put has refused it
)

// Take has put send what block blk has to be pinned to, if there is something to
// send. since is from when on a READ waits for it, zero if none does. put is
// called with the lock of the file, so that nothing is sent once Drop has
// returned; it must not block, and returns false if there is no room for a
// message. The sender must report Acked for what was taken, or let the whole
// client go.
func (w *Watch) Take(blk int64, put func(rev zodb.Tid, since time.Time) bool) Taking {
	f := w.file
	f.mu.Lock()
	defer f.mu.Unlock()
	p := w.pins[blk]
	if p == nil || p.taken {
		return Nothing
	}
	if w.removed || p.want == p.acked {
		p.sending, p.urgent, p.since = false, false, time.Time{}
		w.tidy(blk, p)
		return Nothing
	}
	if !put(p.want, p.since) {
		return NoRoom
	}
	p.message, p.taken = p.want, true
	f.broadcast() // a message to head is a reason for READs to wait
	return Taken
}

// lose tells the client that the watch, if it still is at the view, cannot be kept up
// for block blk. A client that cannot be told is sent to the view: it finds out when it
// looks.
func (w *Watch) lose(blk int64, at zodb.Tid, err error) {
	loser, ok := w.client.(Loser)
	w.file.mu.Lock()
	gone := w.removed || w.at != at
	if !gone && !ok {
		w.setWant(blk, at)
	}
	w.file.mu.Unlock()
	if !gone && ok {
		loser.Lost(w, err)
	}
}

// Acked notes that the client has done what the message for blk said, or, of a
// watch that was dropped, that no answer is waited for any longer.
func (w *Watch) Acked(blk int64) {
	f := w.file
	f.mu.Lock()
	defer f.mu.Unlock()
	p := w.pins[blk]
	p.acked, p.taken = p.message, false
	w.overdue = false
	if !p.since.IsZero() {
		p.since = time.Now() // the next message of the block has a time of its own
	}
	f.broadcast()
}

// mayMapHead reports whether the client may still see the page of block blk in head/.
func (w *Watch) mayMapHead(blk int64) bool {
	w.file.mu.MustHold()
	p := w.pins[blk]
	return p == nil || p.acked == ToHead || p.acked == unknown || p.taken && p.message == ToHead
}

// broadcast wakes all who wait for the state of watches.
func (f *File) broadcast() {
	f.mu.MustHold()
	close(f.wake)
	f.wake = make(chan struct{})
}

// await waits until ok, which is called with the lock, returns true.
func (f *File) await(ctx context.Context, ok func() bool) error {
	for {
		f.mu.Lock()
		if f.fenced != nil {
			defer f.mu.Unlock()
			return f.fenced
		}
		if ok() {
			f.mu.Unlock()
			return nil
		}
		wake := f.wake
		f.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TooFarBackError refuses a watch at a view that history does not cover.
type TooFarBackError struct{ At, Head zodb.Tid }

func (e *TooFarBackError) Error() string {
	return fmt.Sprintf("too far away back from head/at (@%s); δt = %s", e.Head, e.Head.Time().Sub(e.At.Time().Time).Round(time.Microsecond))
}

// GoingBackError refuses to move a watch to an older view.
type GoingBackError struct{}

func (*GoingBackError) Error() string { return "going back in history is forbidden" }

// EpochError refuses a watch at a view at which the file was not there.
type EpochError struct{ Rev, Head zodb.Tid }

func (e *EpochError) Error() string {
	return fmt.Sprintf("file epoch detected @%s in between (at,head=@%s]", e.Rev, e.Head)
}

// reserve keeps history from at on until release. It fails if history does not
// reach so far back.
func (h *Head) reserve(at zodb.Tid) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at < h.kept {
		return &TooFarBackError{At: at, Head: h.at}
	}
	h.reserved[at]++
	return nil
}

// Reaches returns *TooFarBackError if history does not reach back to view at.
func (h *Head) Reaches(at zodb.Tid) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at < h.kept {
		return &TooFarBackError{At: at, Head: h.at}
	}
	return nil
}

func (h *Head) release(at zodb.Tid) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reserved[at]--; h.reserved[at] == 0 {
		delete(h.reserved, at)
	}
}

// Known returns file oid if it was looked up, and is not fenced.
func (h *Head) Known(oid zodb.Oid) *File {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.files[oid]
}

// Drained waits until the messages of a watch that was dropped are acked, so that
// no late answer is taken for that to a message of another watch. It returns their
// blocks: who watches the file again may have done what they said for the new watch,
// or not.
func (w *Watch) Drained(ctx context.Context) (unsure []int64, err error) {
	err = w.file.await(ctx, func() bool {
		for _, p := range w.pins {
			if p.taken {
				return false
			}
		}
		return true
	})
	if errors.Is(err, errAnotherFile) {
		return nil, nil // what is mapped of the file does not matter any more
	}
	return w.unsure, err
}

// Drop ends the watch: nothing is sent for it from here on, and READs do not wait
// for its client.
func (w *Watch) Drop() {
	f := w.file
	f.mu.Lock()
	if w.removed {
		f.mu.Unlock()
		return
	}
	w.removed = true
	for blk, p := range w.pins {
		if p.taken {
			w.unsure = append(w.unsure, blk)
		}
	}
	delete(f.watches, w)
	at := w.at
	f.broadcast()
	f.mu.Unlock()
	f.head.release(at)
}

// Pinned returns how many blocks the client maps from past views.
func (w *Watch) Pinned() (n int) {
	w.file.mu.Lock()
	defer w.file.mu.Unlock()
	for _, p := range w.pins {
		if p.acked != ToHead {
			n++
		}
	}
	return n
}
