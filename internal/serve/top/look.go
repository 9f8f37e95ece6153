package top

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/mount"
)

// look is what was learnt of a server at a moment.
type look struct {
	server  control.Server
	at      time.Time
	trouble string        // what is wrong, "" if nothing is
	dump    *control.Dump // nil unless the server does not answer
	head    string        // the newest transaction
	metrics metrics       // nil if there are none
	clients []client
	omitted string // how many clients are not in the list, if any
}

// watched is a server that is looked at again and again.
type watched struct {
	now, last *look     // last is nil if there is none that now can be compared with
	answered  *look     // the newest one with metrics
	stuck     int       // looks in a row without an answer
	again     time.Time // not before then is it asked
}

const (
	// stuckPause is how long a server that does not answer is left alone, and twice as
	// long each time up to maxStuckPause. Children that wait for it may be such that
	// nothing can end.
	stuckPause    = 5 * time.Second
	maxStuckPause = time.Minute

	// findAgain is how long it is believed which servers there are, if all is well. To
	// find out takes a look at every process.
	findAgain = 10 * time.Second
)

// looker looks at the servers that are meant.
type looker struct {
	opt   Options
	found time.Time
	all   []control.Server
	known map[identity]*watched
}

// identity tells servers apart that were mounted at one place one after the other.
type identity struct {
	dir    string
	device uint64
	pid    int
}

func newLooker(opt Options) *looker { return &looker{opt: opt, known: make(map[identity]*watched)} }

// round looks at all servers and returns them in the order in which they were found. The
// error says why there are none.
func (k *looker) round(ctx context.Context) ([]*watched, error) {
	if time.Since(k.found) > findAgain || k.troubled() {
		all, err := k.opt.Find()
		if err != nil {
			k.all, k.known = nil, make(map[identity]*watched)
			return nil, err
		}
		k.all, k.found = all, time.Now()
	}
	round := make([]*watched, len(k.all))
	known := make(map[identity]*watched)
	var looking sync.WaitGroup
	for i, s := range k.all {
		id := identity{s.Dir, s.Device(), s.PID}
		round[i] = k.known[id]
		if round[i] == nil || known[id] != nil { // a table that changes while it is read may have one twice
			round[i] = &watched{}
		}
		known[id] = round[i]
		looking.Go(func() { round[i].look(ctx, k.opt.Prober, s) })
	}
	looking.Wait()
	k.known = known
	copies := make([]*watched, len(round)) // what is shown stays as it is in the next round
	for i, w := range round {
		shown := *w
		copies[i] = &shown
	}
	return copies, ctx.Err()
}

// troubled reports whether a server did not answer: it may have ended, and another one be
// there.
func (k *looker) troubled() bool {
	for _, w := range k.known {
		if w.now.metrics == nil {
			return true
		}
	}
	return len(k.all) == 0
}

// look looks at the server once more.
func (w *watched) look(ctx context.Context, prober mount.Prober, s control.Server) {
	l := &look{server: s, at: time.Now()}
	if l.at.Before(w.again) && isWaitedFor(s) {
		l.server.State, l.trouble = w.now.server.State, w.now.trouble
	} else {
		l.ask(ctx, prober)
		w.pause(l.server.State == control.StateStuck)
	}
	if l.server.State == control.StateStuck {
		l.dump = control.NewDump(l.server)
	}
	if _, err := l.server.Process(); err != nil && l.metrics == nil {
		l.trouble = err.Error()
	}
	w.now, w.last = l, nil
	if l.metrics != nil {
		w.last, w.answered = w.answered, l
	}
}

// isWaitedFor reports whether a server has requests that it has not answered, as those of
// the children that were left behind: the kernel counts them.
func isWaitedFor(s control.Server) bool {
	n, err := s.Waiting()
	return err != nil || n > 0
}

// pause notes whether the server did not answer, and for how long it is left alone then.
func (w *watched) pause(stuck bool) {
	if !stuck {
		w.stuck, w.again = 0, time.Time{}
		return
	}
	w.again = time.Now().Add(min(stuckPause<<min(w.stuck, 10), maxStuckPause))
	w.stuck++
}

// ask asks the server. The first question is the one that says how it is; if that is not
// answered no other is asked.
func (l *look) ask(ctx context.Context, prober mount.Prober) {
	var err error
	if l.head, l.server.State, err = l.server.Ask(ctx, prober); err != nil {
		l.trouble = err.Error()
		return
	}
	var text, list []byte
	var failed error
	var asking sync.WaitGroup
	asking.Go(func() { text, failed = prober.Read(ctx, filepath.Join(l.server.Dir, ".wcfs", "metrics")) })
	asking.Go(func() { list, _ = prober.Read(ctx, filepath.Join(l.server.Dir, ".wcfs", "clients")) }) // older servers have none
	asking.Wait()
	l.at = time.Now()
	if failed == nil {
		l.metrics, failed = parseMetrics(text)
	}
	if failed != nil {
		l.server.State, l.trouble = control.StateOf(failed), failed.Error()
		return
	}
	l.clients, l.omitted = parseClients(list)
	if up, ok := l.metrics.sum("storage_up"); ok && up == 0 {
		l.server.State, l.trouble = control.StateDisconnected, "the server of the database is away"
		if _, err := l.server.AskDatabase(ctx, prober); err != nil {
			l.trouble = err.Error()
		}
	}
	if down, _ := l.metrics.sum("eio_mode"); down > 0 {
		l.server.State, l.trouble = control.StateFailing, "the database cannot be followed any more, as the log says: reading gives EIO"
	}
}
