package neotest

import (
	"crypto/sha1"
	"fmt"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/neoproto"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// storage answers a request to a storage. later says that it is to be held back. c.mu must
// be held.
func (c *Cluster) storage(k *conn, p neoproto.Packet) (later bool) {
	identify, ok := p.Msg.(*neoproto.Identify)
	switch {
	case ok && k.client == 0:
		return c.identifyWithStorage(k, p, identify)
	case ok || k.client == 0:
		k.unexpected(p)
		return false
	}
	switch m := p.Msg.(type) {
	case *neoproto.AskObject:
		return c.object(k, p, m)
	case *neoproto.AskTids:
		return c.tids(k, p, m)
	case *neoproto.AskTransaction:
		c.transaction(k, p, m)
	default:
		k.unexpected(p)
	}
	return false
}

// identifyWithStorage answers a client that wants to be accepted by a storage. The storage
// knows clients by what the master tells, which may take a while.
func (c *Cluster) identifyWithStorage(k *conn, p neoproto.Packet, m *neoproto.Identify) (later bool) {
	since, known := k.n.known[m.ID]
	switch {
	case m.Cluster != c.opt.Name:
		k.refuse(p, neoproto.ProtocolViolation, "invalid cluster name")
	case c.state != neoproto.RunningCluster && c.state != neoproto.BackingUp:
		k.refuse(p, neoproto.NotReady, "Retry Later")
	case m.ID == 0:
		k.refuse(p, neoproto.ProtocolViolation, "reject anonymous non-storage node")
	case m.Time == 0:
		c.complain("an identification without a time, which ends storages of Python 3")
		k.refuse(p, neoproto.ProtocolViolation, "unexpected identification")
	case known && since == m.Time:
		k.client = m.ID
		k.answer(p, &neoproto.Accepted{Type: neoproto.StorageNode, ID: k.n.ID, You: m.ID})
	case k.n.news < m.Time:
		return true
	default:
		k.refuse(p, neoproto.NotReady, "unknown by master")
	}
	return false
}

// readable reports whether the node may answer for a partition.
func (n *Node) readable(id uint64) bool {
	table := &n.c.table
	for _, cell := range table.Rows[id%uint64(len(table.Rows))] {
		if cell.Node == n.ID {
			return cell.State.Readable()
		}
	}
	return false
}

// object answers for a revision of an object.
func (c *Cluster) object(k *conn, p neoproto.Packet, m *neoproto.AskObject) (later bool) {
	if (m.At == 0) == (m.Before == 0) {
		c.complain("a question for an object at %s and before %s", m.At, m.Before)
	}
	for _, t := range k.n.locks {
		if t.has(m.Oid) {
			return true
		}
	}
	if !k.n.readable(uint64(m.Oid)) {
		k.fail(p, neoproto.NonReadableCell, "")
		return false
	}
	r, known := c.db.object(m.Oid, m.At, m.Before)
	text := fmt.Sprintf("%016x", uint64(m.Oid))
	switch {
	case !known:
		k.fail(p, neoproto.OidDoesNotExist, text)
	case r == nil:
		k.fail(p, neoproto.OidNotFound, text)
	case k.n.damaged[m.Oid] != NoDamage && r.data != nil:
		k.answer(p, r.damaged(m.Oid, k.n.damaged[m.Oid]))
	default:
		k.answerWith(p, (*neoproto.Object)(nil).Code(), r.encoded(m.Oid))
	}
	return false
}

// tids answers with transactions. A real storage does not look whether it may answer for
// the partition: one that has dropped it knows of none there.
func (c *Cluster) tids(k *conn, p neoproto.Packet, m *neoproto.AskTids) (later bool) {
	for tid := range k.n.locks {
		if tid <= m.To {
			return true
		}
	}
	if m.Partition >= len(c.table.Rows) || m.To > c.db.last() && c.state != neoproto.BackingUp {
		c.complain("a question for transactions of partition %d up to %s", m.Partition, m.To)
	}
	tids := &neoproto.Tids{}
	if k.n.readable(uint64(m.Partition)) {
		tids.Tids = c.db.tids(m, len(c.table.Rows))
	}
	k.answer(p, tids)
	return false
}

// transaction answers for a transaction. One that is locked is not there yet.
func (c *Cluster) transaction(k *conn, p neoproto.Packet, m *neoproto.AskTransaction) {
	t := c.db.find(m.Tid)
	switch {
	case !k.n.readable(uint64(m.Tid)):
		k.fail(p, neoproto.NonReadableCell, "")
	case t == nil || k.n.locks[m.Tid] != nil:
		k.fail(p, neoproto.TidNotFound, fmt.Sprintf("%016x does not exist", uint64(m.Tid)))
	default:
		k.answer(p, &neoproto.Transaction{Tid: t.tid, User: t.user, Description: t.description, Extension: t.extension, Oids: t.oids})
	}
}

// ---- revisions ----

// message is how a storage tells of a revision.
func (r *revision) message(oid zodb.Oid) *neoproto.Object {
	return &neoproto.Object{
		Oid: oid, Serial: r.tid, Next: r.next, Compression: r.compression, Checksum: r.checksum,
		Data: &storage.Buf{Data: r.data}, DataSerial: r.dataSerial,
	}
}

// headLen is how long a packet with number 0 is before its arguments.
const headLen = len("\x93\x00\xcd\x80\x20")

// encoded returns the arguments of the message.
func (r *revision) encoded(oid zodb.Oid) []byte {
	if r.args == nil {
		r.args = neoproto.Append(nil, neoproto.Packet{Msg: r.message(oid)})[headLen:]
	}
	return r.args
}

// damaged is the message with damage.
func (r *revision) damaged(oid zodb.Oid, damage Damage) *neoproto.Object {
	m := r.message(oid)
	m.Data.Data = append([]byte{}, r.data...)
	switch damage {
	case WrongData:
		m.Data.Data[len(r.data)/2] ^= 0x10
	case WrongChecksum:
		m.Checksum[19] ^= 1
	case WrongForm:
		m.Compression = neoproto.Zlib
		m.Data.Data = []byte("this is no zlib stream")
		m.Checksum = sha1.Sum(m.Data.Data)
	}
	return m
}
