package isolation

import (
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
)

// Stats is what .wcfs/stats tells of clients.
type Stats struct {
	WatchLink, Watch, PinnedBlk int
	Pin, PinKill                uint64
}

// Stats returns current figures. It takes the locks of all links and files.
func (e *Engine) Stats() Stats {
	s := Stats{Pin: e.pins.Load(), PinKill: e.kills.Load()}
	for _, l := range e.list() {
		s.WatchLink++
		for _, w := range l.watchList() {
			s.Watch++
			s.PinnedBlk += w.Pinned()
		}
	}
	return s
}

// pinned tells about a pin that began at start.
func (l *Link) pinned(oid zodb.Oid, blk int64, rev zodb.Tid, start time.Time, failure *pinError) {
	p := core.Pin{Pid: l.proc.Pid(), Oid: oid, Blk: blk, Rev: revText(rev), Took: time.Since(start)}
	if failure != nil {
		p.Err = failure.cause
	}
	l.engine.cfg.Observer.Pinned(p)
}

// killed tells that the client of l was ended.
func (l *Link) killed() {
	l.engine.kills.Add(1)
	l.engine.cfg.Observer.Killed(core.Kill{Pid: l.proc.Pid(), Reason: l.killReason(), Why: l.failure.Error()})
}

func (l *Link) killReason() core.Reason {
	switch {
	case l.failure.timedOut():
		return core.TimedOut
	case l.failure.malformed:
		return core.Refused
	case l.reason == downProtocol:
		return core.Broke
	}
	return core.Closed
}
