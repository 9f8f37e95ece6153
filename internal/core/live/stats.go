package live

import (
	"sync/atomic"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/served"
	"github.com/wcfs/wcfs/internal/core/versions"
)

// report tells about the transaction.
func (t *transaction) report() {
	c := core.Commit{Tid: t.tid, Took: time.Since(t.start)}
	for _, change := range t.all() {
		if change.dropped > 0 || change.delta != nil {
			c.Files++
		}
		c.Blocks += change.dropped
	}
	t.head.cfg.Observer.Committed(c)
}

// counts is what is counted as it happens.
type counts struct {
	evicted atomic.Uint64
	reads   atomic.Int64
	waiting atomic.Int64
	parked  atomic.Int64 // bytes that READs keep while they wait for clients
}

// Stats is how a Head is doing.
type Stats struct {
	At, Pending zodb.Tid // newest view, and the transaction that is being taken in, 0 if none

	Files, Served, Nodes, ZBlks int // files known; blocks and objects whose changes are looked for

	Reads, Waiting int    // READs without a reply yet; those of them that wait for a client
	Evicted        uint64 // blocks that were dropped since there were too many
	Preserved      int64  // bytes of old content
	Cache          versions.CacheStats

	History      int // transactions in history
	HistoryBegin zodb.Tid
}

// Stats returns current figures. It takes the locks of Head, of all files and of
// the history, one after another.
func (h *Head) Stats() Stats {
	var sizes served.Sizes
	h.indexed(func(x *served.Index) { sizes = x.Sizes() })
	s := Stats{
		Files:        h.Files(),
		Served:       h.Served(),
		Nodes:        sizes.Nodes,
		ZBlks:        sizes.ZBlks,
		Reads:        int(h.counts.reads.Load()),
		Waiting:      int(h.counts.waiting.Load()),
		Evicted:      h.counts.evicted.Load(),
		Preserved:    h.preserved.Bytes(),
		Cache:        h.objs.CacheStats(),
		History:      h.objs.Len(),
		HistoryBegin: h.objs.Tail(),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.At, s.Pending = h.at, h.pending
	return s
}
