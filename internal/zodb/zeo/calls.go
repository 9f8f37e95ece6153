package zeo

import (
	"sync"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// maxCalls bounds the calls that wait for their reply at a time, those that nobody is
// interested in any more included. So it bounds what is queued for the server, too.
const maxCalls = 1024

// maxID is the largest number of a call: larger ones take more room in a pickle.
const maxID = 1<<31 - 1

// reply is what a call was answered with. Byte strings of value are parts of frame.
type reply struct {
	value any
	err   error // *ServerError
	frame *storage.Buf
}

// release gives the memory of the frame back. Nothing of value may be in use any more.
// Replies that are not released are left to the garbage collector.
func (r *reply) release() {
	if r.frame != nil {
		r.frame.Release()
	}
}

// call is one request under way.
type call struct {
	got chan reply // holds the reply; of one

	// late is told the reply if nobody waits for it any more. It may be nil, and must
	// not block.
	late      func(reply)
	abandoned bool // guarded by callTable.mu
	slot      bool // it holds one of callTable.slots
}

// callTable has the calls that are not answered. A call stays here when its caller
// gives up: its reply comes all the same, and is none that nobody has asked for.
type callTable struct {
	slots chan struct{} // has one of maxCalls for each call but pings

	mu     sync.Mutex
	lastID int64
	byID   map[int64]*call
}

func newCallTable() *callTable {
	return &callTable{slots: make(chan struct{}, maxCalls), byID: make(map[int64]*call)}
}

// add numbers a call.
func (t *callTable) add(c *call) (id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		t.lastID = t.lastID%maxID + 1
		if t.byID[t.lastID] == nil {
			t.byID[t.lastID] = c
			return t.lastID
		}
	}
}

// abandon drops the interest of the caller. It reports whether the reply has come all
// the same, and is to be taken.
func (t *callTable) abandon(c *call) (answered bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.abandoned = true
	return len(c.got) > 0
}

// answer hands over a reply. It reports whether there is such a call.
func (t *callTable) answer(id int64, r reply) bool {
	t.mu.Lock()
	c := t.byID[id]
	delete(t.byID, id)
	abandoned := c != nil && c.abandoned
	if c != nil && c.slot {
		<-t.slots // does not block: the call has put something in
	}
	if c != nil && !abandoned {
		c.got <- r
	}
	t.mu.Unlock()
	if abandoned {
		if c.late != nil {
			c.late(r)
		}
		r.release()
	}
	return c != nil
}
