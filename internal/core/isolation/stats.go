package isolation

import (
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Pinned is a pin that was sent, or could not be.
type Pinned struct {
	Pid  int
	Oid  zodb.Oid
	Blk  int64
	Rev  string // 16 hexadecimal digits, or "head"
	Took time.Duration
	Err  error // nil: acknowledged
}

// Reason says why a client was ended.
type Reason string

const (
	TimedOut Reason = "timeout"  // it did not acknowledge a pin in time
	Refused  Reason = "refused"  // it answered a pin with something else
	Broke    Reason = "protocol" // it broke the protocol while a pin was not acknowledged
	Closed   Reason = "closed"   // it closed the link while a pin was not acknowledged
)

// Reasons is all reasons.
func Reasons() []Reason { return []Reason{TimedOut, Refused, Broke, Closed} }

// Killed is a client that was ended.
type Killed struct {
	Pid    int
	Reason Reason
	Why    string
}

// pinned tells about a pin that began at start.
func (l *Link) pinned(oid zodb.Oid, blk int64, rev zodb.Tid, start time.Time, failure *pinError) {
	if l.engine.cfg.Pinned == nil {
		return
	}
	p := Pinned{Pid: l.proc.Pid(), Oid: oid, Blk: blk, Rev: revText(rev), Took: time.Since(start)}
	if failure != nil {
		p.Err = failure.cause
	}
	l.engine.cfg.Pinned(p)
}

// killed tells that the client of l was ended.
func (l *Link) killed() {
	l.engine.kills.Add(1)
	if l.engine.cfg.Killed != nil {
		l.engine.cfg.Killed(Killed{l.proc.Pid(), l.killReason(), l.failure.Error()})
	}
}

func (l *Link) killReason() Reason {
	switch {
	case l.failure.timedOut():
		return TimedOut
	case l.failure.malformed:
		return Refused
	case l.reason == downProtocol:
		return Broke
	}
	return Closed
}
