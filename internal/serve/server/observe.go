package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/serve/observe"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

const (
	// probeLimit is how long the mount may take to answer a probe.
	probeLimit = 5 * time.Second

	// probeFresh is how long an answer counts as one of now, so that many who
	// ask do not start many children.
	probeFresh = 500 * time.Millisecond

	// probeStuck is how long it does when there was no answer, and twice as long
	// each time up to maxProbeStuck. A child that is stuck may be one that nothing
	// can end, so there must not be many.
	probeStuck    = 5 * time.Second
	maxProbeStuck = 2 * time.Minute

	// checkLimit is how long a server may take to say whether it is ready.
	checkLimit = probeLimit + 3*time.Second

	// maxLag is how long head/ may be behind the database. A commit takes
	// milliseconds, unless the database or a client has to be waited for.
	maxLag = 10 * time.Second
)

// observe makes all that the server is made of tell the observer what it does.
func (s *server) observe() {
	s.observer.Watch(s.state)
	s.checks = observe.NewChecks(checkLimit,
		observe.Check{Name: "serving", Test: s.checkPhase},
		observe.Check{Name: "mount", Test: s.probe.check},
		observe.Check{Name: "database", Test: func(context.Context) error { return checkDatabase(s.state()) }},
		observe.Check{Name: "eio_mode", Test: s.checkDown})
}

// state returns how all of it is doing.
func (s *server) state() observe.State {
	state := observe.State{
		Newest:  s.store.Head(),
		Head:    s.head.Stats(),
		Clients: s.links.Stats(),
		Loads:   s.loader.Stats(),
		Views:   s.tree.Views(),
		Queue:   -1,
		Reach:   storage.Reach{Up: true},
	}
	if s.backlog != nil {
		state.Queue = s.backlog()
	}
	if s.reach != nil {
		state.Reach = s.reach()
	}
	return state
}

// driverOf returns the name of the driver in metrics.
func driverOf(zurl string) string {
	u, err := storage.ParseURL(zurl)
	if err != nil {
		return "unknown"
	}
	if u.Scheme == "postgres" { // one driver with two names
		return "postgresql"
	}
	return u.Scheme
}

// backlogOf returns how to learn how many transactions wait, nil if a driver does
// not tell.
func backlogOf(store storage.Storage) func() int {
	if s, ok := store.(interface{ Backlog() int }); ok {
		return s.Backlog
	}
	return nil
}

// phase is what a server is doing.
type phase string

const (
	starting phase = "the server is starting"
	serving  phase = ""
	stopping phase = "the server is stopping"
)

// isStopping reports whether the server is about to go.
func (s *server) isStopping() bool { return s.phase.Load().(phase) == stopping }

func (s *server) checkPhase(context.Context) error {
	if p := s.phase.Load().(phase); p != serving {
		return errors.New(string(p))
	}
	return nil
}

// reachOf returns how to learn whether the server of the database is there, nil if it
// has none.
func reachOf(store storage.Storage) func() storage.Reach {
	if s, ok := store.(storage.Reachable); ok {
		return s.Reach
	}
	return nil
}

// checkDatabase fails while the database cannot be reached, and when head/ does not
// follow it.
func checkDatabase(state observe.State) error {
	if !state.Reach.Up {
		return errors.New(state.Reach.String())
	}
	if lag := state.Lag(time.Now()); lag > maxLag {
		return fmt.Errorf("head/ is behind the database for %s: it does not take in transaction @%s",
			lag.Round(time.Second), state.Head.Pending)
	}
	return nil
}

func (s *server) checkDown(context.Context) error {
	if why := s.observer.DownReason(); why != "" {
		return fmt.Errorf("the database cannot be followed: %s", why)
	}
	return nil
}

// mountProbe asks the mount whether it answers. One question is asked at a time,
// whoever wants to know.
type mountProbe struct {
	ask    func(ctx context.Context) error
	ctx    context.Context // ends when nothing is to be asked any more
	cancel context.CancelFunc
	busy   chan struct{} // of capacity 1: who has put something into it may ask

	// The fields below are guarded by busy.
	last   time.Time // of the last answer
	answer error
	stuck  int // times in a row that there was none
}

// newMountProbe returns the probe of the mount at dir.
func newMountProbe(dir string) *mountProbe {
	prober := mount.Prober{Limit: probeLimit}
	// The file is one that no cache of the kernel can answer. It is not
	// .wcfs/zurl, which clients open.
	path := filepath.Join(dir, "head", "at")
	return newProbe(func(ctx context.Context) error {
		at, err := prober.Read(ctx, path)
		if err != nil {
			return err
		}
		if _, ok := storage.ParseID(strings.TrimSpace(string(at))); !ok {
			return fmt.Errorf("%s says %.40q: something else is mounted there", path, at)
		}
		return nil
	})
}

func newProbe(ask func(ctx context.Context) error) *mountProbe {
	p := &mountProbe{ask: ask, busy: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// check returns why the mount does not answer. It waits for a question that is
// being asked, for its limit at most.
func (p *mountProbe) check(ctx context.Context) error {
	select {
	case p.busy <- struct{}{}:
		defer func() { <-p.busy }()
	case <-p.ctx.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.ctx.Err() != nil {
		return errors.New(string(stopping))
	}
	if time.Since(p.last) > p.validity() {
		// A caller that does not want to know any more does not end the question:
		// the child could be one that stays.
		p.note(p.ask(p.ctx))
	}
	return p.answer
}

// note takes an answer of whoever has busy.
func (p *mountProbe) note(answer error) {
	p.last, p.answer = time.Now(), answer
	var stuck *mount.StuckError
	if errors.As(answer, &stuck) {
		p.stuck++
	} else {
		p.stuck = 0
	}
}

// validity is how long the last answer is good for, for whoever has busy.
func (p *mountProbe) validity() time.Duration {
	if p.stuck == 0 {
		return probeFresh
	}
	return min(probeStuck<<min(p.stuck-1, 10), maxProbeStuck)
}

// stop makes whoever waits for an answer give up, and waits for that: a child in
// the mount would keep it from being unmounted.
func (p *mountProbe) stop() {
	p.cancel()
	p.busy <- struct{}{}
	<-p.busy
}
