// Package storagetest checks that a storage keeps the promises of package
// storage, and has what such checks need: a Model that knows the right
// answers, a generator of histories, and FSWriter, which writes FileStorage
// files step by step.
//
// A driver's test gives Run a function that makes a Fixture: a new, empty
// database that can be opened and committed to.
package storagetest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Txn is a transaction to commit.
type Txn struct {
	Tid         zodb.Tid
	User        []byte
	Description []byte
	Extension   []byte
	Records     []Record // an object may be there twice: the last one counts
}

// Record is what a transaction makes of an object.
type Record struct {
	Oid    zodb.Oid
	Data   []byte   // nil: delete the object
	SameAs zodb.Tid // if not 0: an undo, which shares the data of this revision, equal to Data
}

// Oids returns the objects that t changes, ascending and unique.
func (t *Txn) Oids() []zodb.Oid {
	oids := make([]zodb.Oid, 0, len(t.Records))
	for _, r := range t.Records {
		oids = append(oids, r.Oid)
	}
	slices.Sort(oids)
	return slices.Compact(oids)
}

// Model is the history of a database, held in memory. It is not for concurrent
// use while it is changed.
type Model struct {
	Txns    []Txn
	objects map[zodb.Oid][]modelRev
}

type modelRev struct {
	tid  zodb.Tid
	data []byte
}

// NewModel returns the model of an empty database.
func NewModel() *Model { return &Model{objects: make(map[zodb.Oid][]modelRev)} }

// Commit adds t, whose tid must be above the head.
func (m *Model) Commit(t Txn) {
	if t.Tid <= m.Head() {
		panic(fmt.Sprintf("storagetest: commit @%s after @%s", t.Tid, m.Head()))
	}
	m.Txns = append(m.Txns, t)
	for _, r := range t.Records {
		revs := m.objects[r.Oid]
		if n := len(revs); n > 0 && revs[n-1].tid == t.Tid {
			revs = revs[:n-1]
		}
		m.objects[r.Oid] = append(revs, modelRev{t.Tid, r.Data})
	}
}

// Head returns the tid of the last transaction.
func (m *Model) Head() zodb.Tid {
	if len(m.Txns) == 0 {
		return 0
	}
	return m.Txns[len(m.Txns)-1].Tid
}

// Oids returns all objects that ever were, ascending.
func (m *Model) Oids() []zodb.Oid {
	var oids []zodb.Oid
	for oid := range m.objects {
		oids = append(oids, oid)
	}
	slices.Sort(oids)
	return oids
}

// Load returns the data of the object as of a view. If it does not exist then,
// data is nil, and serial is the tid of its deletion, or 0 if it was not
// created yet. known says whether the object has ever been there.
func (m *Model) Load(xid zodb.Xid) (data []byte, serial zodb.Tid, known bool) {
	revs := m.objects[xid.Oid]
	for _, r := range slices.Backward(revs) {
		if r.tid <= xid.At {
			return r.data, r.tid, true
		}
	}
	return nil, 0, len(revs) > 0
}

// NextTid returns a tid shortly after the head; now and then the very next.
func (m *Model) NextTid(rnd *rand.Rand) zodb.Tid {
	if m.Head() == 0 {
		return 0x0285cbac00000001
	}
	if rnd.IntN(4) == 0 {
		return m.Head() + 1
	}
	return m.Head() + 1 + zodb.Tid(rnd.IntN(1<<32))
}

// oddOids have bytes of all kinds in all places.
var oddOids = []zodb.Oid{0, 1, 0x80, 0xff, 0x7f80, 0xffff, 0x10000, 0x8000_0000_0000, 0x80818283_84858687, 0xfffefdfc_fbfaf9f8, 0x7fffffff_ffffffff}

// RandomTxn returns a transaction that may follow: creations, changes, double
// changes, deletions, re-creations, undos, or nothing at all. Objects are among
// about n.
func (m *Model) RandomTxn(rnd *rand.Rand, n int) Txn {
	t := Txn{Tid: m.NextTid(rnd), User: randomBytes(rnd, rnd.IntN(4)), Description: randomBytes(rnd, rnd.IntN(300))}
	if rnd.IntN(3) == 0 {
		t.Extension = append([]byte("\x80\x03}q\x00."), randomBytes(rnd, rnd.IntN(8))...)
	}
	used := make(map[zodb.Oid]bool)
	for range rnd.IntN(6) { // none: an empty transaction
		oid := zodb.Oid(rnd.IntN(n))
		if rnd.IntN(4) == 0 {
			oid = oddOids[rnd.IntN(len(oddOids))]
		}
		if used[oid] {
			continue
		}
		used[oid] = true
		t.Records = append(t.Records, m.randomRecords(rnd, oid)...)
	}
	return t
}

func (m *Model) randomRecords(rnd *rand.Rand, oid zodb.Oid) []Record {
	revs := m.objects[oid]
	fresh := func() Record {
		return Record{Oid: oid, Data: append([]byte("\x80\x02"), randomBytes(rnd, 1+rnd.IntN(3000))...)}
	}
	switch rnd.IntN(8) {
	case 0:
		if len(revs) > 0 {
			return []Record{{Oid: oid}} // deletion, or undone creation
		}
	case 1, 2:
		if len(revs) > 0 {
			rev := revs[rnd.IntN(len(revs))]
			return []Record{{Oid: oid, Data: rev.data, SameAs: rev.tid}}
		}
	case 3:
		return []Record{fresh(), fresh()}
	}
	return []Record{fresh()}
}

func randomBytes(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}
