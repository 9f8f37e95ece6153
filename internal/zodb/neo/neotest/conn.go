package neotest

import (
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
)

// conn is a connection of a client to a node.
type conn struct {
	n    *Node
	raw  net.Conn
	io   net.Conn // raw, or what is encrypted over it
	done chan struct{}
	wake chan struct{} // holds a token when there may be something to write

	// Guarded by Cluster.mu.
	client  neoproto.NodeID // who it is; 0: it has not been accepted
	numbers uint32          // of notifications
	ended   bool

	mu    sync.Mutex // a leaf
	queue []outgoing // guarded by mu
}

// outgoing is something to be written.
type outgoing struct {
	late  time.Duration
	due   time.Time // not before
	parts net.Buffers
	end   bool // of the connection, behind it
}

// maxRequest is how long a request of a client may be, in bytes.
const maxRequest = 1 << 20

func newConn(n *Node, raw net.Conn) *conn {
	return &conn{n: n, raw: raw, io: n.encrypted(raw), done: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// end ends the connection. Cluster.mu must be held.
func (k *conn) end() {
	if k.ended {
		return
	}
	k.ended = true
	close(k.done)
	_ = k.raw.Close()
	k.n.closed(k)
}

func (k *conn) endNow() {
	k.n.c.mu.Lock()
	defer k.n.c.mu.Unlock()
	k.end()
}

// ---- reading ----

// read takes requests until the connection ends.
func (k *conn) read() {
	defer k.endNow()
	hello := make([]byte, len(neoproto.Hello))
	if _, err := io.ReadFull(k.io, hello); err != nil {
		return
	}
	if string(hello) != neoproto.Hello {
		// A client that is cut off while it still speaks may not read what it was told.
		_ = k.raw.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.Copy(io.Discard, k.io)
		return
	}
	r := neoproto.NewReader(k.io, maxRequest)
	for {
		packet, err := r.Next()
		if err != nil {
			return
		}
		k.n.c.mu.Lock()
		k.n.asked++
		if !k.ended {
			k.handle(packet)
		}
		k.n.c.mu.Unlock()
	}
}

// handle answers a request, or has it wait. Cluster.mu must be held.
func (k *conn) handle(packet neoproto.Packet) {
	c := k.n.c
	switch packet.Msg.(type) {
	case *neoproto.Ping:
		k.answer(packet, &neoproto.Pong{})
		return
	case *neoproto.Pong, *neoproto.CloseClient:
		return
	}
	if packet.IsAnswer() {
		c.complain("an answer 0x%04x to nothing", uint16(packet.Msg.Code()))
		k.refuse(packet, neoproto.ProtocolViolation, "response to nothing")
		return
	}
	handle := c.master
	if k.n.kind == neoproto.StorageNode {
		handle = c.storage
	}
	if later := handle(k, packet); later {
		c.waiting = append(c.waiting, request{k, packet})
	}
}

// unexpected refuses what no client may say.
func (k *conn) unexpected(packet neoproto.Packet) {
	k.n.c.complain("a packet of code 0x%04x to a %s", uint16(packet.Msg.Code()), k.n.kind)
	k.refuse(packet, neoproto.ProtocolViolation, "unexpected packet")
}

// ---- writing ----

// answer answers a request.
func (k *conn) answer(request neoproto.Packet, m neoproto.Message) {
	k.put(outgoing{parts: net.Buffers{neoproto.Append(nil, neoproto.Packet{ID: request.ID, Msg: m})}})
}

// answerWith answers a request with a message whose arguments are encoded already.
func (k *conn) answerWith(request neoproto.Packet, code neoproto.Code, args []byte) {
	head := msgp.AppendArrayHeader(make([]byte, 0, 16), 3)
	head = msgp.AppendUint64(msgp.AppendUint64(head, uint64(request.ID)), uint64(code))
	k.put(outgoing{parts: net.Buffers{head, args}})
}

// fail answers a request with an error.
func (k *conn) fail(request neoproto.Packet, kind neoproto.ErrorCode, text string) {
	k.answer(request, &neoproto.Error{Kind: kind, Text: text})
}

// refuse is fail, and the end.
func (k *conn) refuse(request neoproto.Packet, kind neoproto.ErrorCode, text string) {
	k.fail(request, kind, text)
	k.abort()
}

// tell sends a notification. Cluster.mu must be held.
func (k *conn) tell(m neoproto.Message) { k.tellLate(0, m) }

func (k *conn) tellLate(late time.Duration, m neoproto.Message) {
	k.put(outgoing{late: late, parts: net.Buffers{neoproto.Append(nil, neoproto.Packet{ID: k.numbers, Msg: m})}})
	k.numbers++
}

// abort ends the connection behind what is to be written.
func (k *conn) abort() { k.put(outgoing{end: true}) }

// put queues something. Cluster.mu must be held. Masters are heard in order.
func (k *conn) put(o outgoing) {
	o.due = time.Now().Add(k.n.c.pause() + o.late)
	k.mu.Lock()
	if n := len(k.queue); n > 0 && (k.n.kind == neoproto.Master || o.end) {
		latest := slices.MaxFunc(k.queue, func(a, b outgoing) int { return a.due.Compare(b.due) }).due
		if o.due.Before(latest) {
			o.due = latest
		}
	}
	k.queue = append(k.queue, o)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// next takes out what is due, in the order in which it is, or tells how long that is to
// wait. wait is -1 if there is nothing.
func (k *conn) next() (parts net.Buffers, end bool, wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.queue) == 0 {
		return nil, false, -1
	}
	slices.SortStableFunc(k.queue, func(a, b outgoing) int { return a.due.Compare(b.due) })
	if wait = time.Until(k.queue[0].due); wait > 0 {
		return nil, false, wait
	}
	taken, now := 0, time.Now()
	for _, o := range k.queue {
		if end || o.due.After(now) {
			break
		}
		parts, end = append(parts, o.parts...), o.end
		taken++
	}
	k.queue = slices.Delete(k.queue, 0, taken)
	return parts, end, 0
}

// write writes until the connection ends.
func (k *conn) write() {
	defer k.endNow()
	if !k.send(net.Buffers{[]byte(neoproto.Hello)}) {
		return
	}
	for {
		parts, end, wait := k.next()
		if wait == 0 {
			if !k.send(parts) || end {
				return
			}
			continue
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-timer:
		case <-k.wake:
		case <-k.done:
			return
		}
	}
}
