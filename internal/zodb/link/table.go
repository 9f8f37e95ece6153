package link

import "sync"

// MaxCalls bounds the calls that wait for their reply at a time, those that nobody is
// interested in any more included. So it bounds what is queued for the server, too.
const MaxCalls = 1024

// maxID is the largest number of a call: larger ones take more room in some encodings.
const maxID = 1<<31 - 1

// Call is one request under way.
type Call[R any] struct {
	got chan answer[R] // holds the answer; of one

	// late is told the reply if nobody waits for it any more. It may be nil, and must
	// not block.
	late      func(R, error)
	abandoned bool // guarded by table.mu
	slot      bool // it holds one of table.slots
}

// answer is what a call was answered with.
type answer[R any] struct {
	reply R
	err   error
}

// table has the calls that are not answered. A call stays here when its caller gives up:
// its reply comes all the same, and is none that nobody has asked for.
type table[R any] struct {
	slots chan struct{} // has one of MaxCalls for each call but signs
	drop  func(R)

	mu     sync.Mutex
	lastID int64
	byID   map[int64]*Call[R]
}

func newTable[R any](drop func(R)) *table[R] {
	return &table[R]{slots: make(chan struct{}, MaxCalls), drop: drop, byID: make(map[int64]*Call[R])}
}

// add numbers a call.
func (t *table[R]) add(c *Call[R]) (id int64) {
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
func (t *table[R]) abandon(c *Call[R]) (answered bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.abandoned = true
	return len(c.got) > 0
}

// answer hands over a reply. It reports whether there is such a call.
func (t *table[R]) answer(id int64, r R, err error) bool {
	t.mu.Lock()
	c := t.byID[id]
	delete(t.byID, id)
	abandoned := c != nil && c.abandoned
	if c != nil && c.slot {
		<-t.slots // does not block: the call has put something in
	}
	if c != nil && !abandoned {
		c.got <- answer[R]{r, err}
	}
	t.mu.Unlock()
	if abandoned {
		if c.late != nil {
			c.late(r, err)
		}
		if t.drop != nil {
			t.drop(r)
		}
	}
	return c != nil
}
