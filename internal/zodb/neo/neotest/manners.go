package neotest

import (
	"net"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// manners are how a node writes.
type manners struct {
	silent  chan struct{} // closed when it is to speak again; nil: it speaks
	left    int           // how many bytes it still writes before it ends the connection, -1: all
	trickle bool          // one byte at a time
}

// Silence has the node say nothing any more, not even hello, as if its host were gone. It
// says after Speak what it has to say.
func (n *Node) Silence() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if n.manners.silent == nil {
		n.manners.silent = make(chan struct{})
	}
}

// Speak ends Silence.
func (n *Node) Speak() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if n.manners.silent != nil {
		close(n.manners.silent)
		n.manners.silent = nil
	}
}

// CutAfter has the node write that many bytes more, over all connections, and end the
// one that would write the next. From then on all is well again.
func (n *Node) CutAfter(bytes int) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.manners.left = bytes
}

// Trickle has the node write one byte at a time.
func (n *Node) Trickle(yes bool) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.manners.trickle = yes
}

// send writes. It reports whether to go on.
func (k *conn) send(parts net.Buffers) bool {
	for {
		m := k.n.behave(parts)
		if m.silent != nil {
			select {
			case <-m.silent:
				continue
			case <-k.done:
				return false
			}
		}
		if m.trickle || m.left >= 0 {
			return k.sendSome(parts, m)
		}
		_, err := parts.WriteTo(k.io)
		return err == nil
	}
}

// behave returns how something is to be written, and takes account of it.
func (n *Node) behave(parts net.Buffers) manners {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	m := n.manners
	if m.silent != nil || m.left < 0 {
		return m
	}
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	if n.manners.left -= size; n.manners.left >= 0 {
		m.left = -1
	}
	n.manners.left = max(n.manners.left, -1)
	return m
}

// sendSome writes with bad manners.
func (k *conn) sendSome(parts net.Buffers, m manners) bool {
	var all []byte
	for _, part := range parts {
		all = append(all, part...)
	}
	if m.left >= 0 {
		all = all[:m.left]
	}
	step := len(all)
	if m.trickle {
		step = 1
	}
	for len(all) > 0 {
		n, err := k.io.Write(all[:step])
		if err != nil {
			return false
		}
		all = all[n:]
		step = min(step, len(all))
	}
	return m.left < 0
}

// Damage is what a storage has of a record that others have as it was.
type Damage int

const (
	NoDamage      Damage = iota
	WrongData            // one bit of the data
	WrongChecksum        // one bit of the checksum
	WrongForm            // data that cannot be decompressed, with its checksum
)

// Damage has the storage answer with a damaged record of an object.
func (n *Node) Damage(oid zodb.Oid, damage Damage) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.damaged[oid] = damage
}
