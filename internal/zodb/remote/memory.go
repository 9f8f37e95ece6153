package remote

import (
	"sync"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

const (
	memorySize = 16 // records that are remembered of loads, and as many of commits
	perCommit  = 4  // of one commit at most
)

// seen is a record as it was at a view. Nothing can change that.
type seen struct {
	xid    zodb.Xid
	serial zodb.Tid
}

// memory has some records that were seen lately, to tell the database by.
type memory struct {
	mu      sync.Mutex
	loads   ring // guarded by mu
	commits ring // guarded by mu
}

// ring has the last records that were put into it.
type ring struct {
	records [memorySize]seen
	n       int // how many were put
}

func (r *ring) put(s seen) {
	r.records[r.n%memorySize] = s
	r.n++
}

func (r *ring) all() []seen { return r.records[:min(r.n, memorySize)] }

// loaded remembers the result of a load. Of each object one revision is enough, the newest.
func (m *memory) loaded(xid zodb.Xid, serial zodb.Tid) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.loads.all()
	for i := range all {
		if all[i].xid.Oid == xid.Oid {
			if serial > all[i].serial {
				all[i] = seen{xid, serial}
			}
			return
		}
	}
	m.loads.put(seen{xid, serial})
}

// told remembers what a transaction wrote. Of what it deleted there will be no record.
func (m *memory) told(tid zodb.Tid, oids []zodb.Oid) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, oid := range oids[:min(len(oids), perCommit)] {
		m.commits.put(seen{zodb.Xid{At: tid, Oid: oid}, tid})
	}
}

// all returns everything that is remembered.
func (m *memory) all() []seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(append([]seen(nil), m.commits.all()...), m.loads.all()...)
}
