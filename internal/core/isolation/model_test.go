package isolation

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
)

var (
	schedules = flag.Int("schedules", defaultSchedules, "how many random schedules to run")
	firstSeed = flag.Uint64("seed", 0, "seed of the first random schedule")
)

// TestEveryLiveClientSeesItsView runs commits, READs, watch setups, moves and
// removals, acknowledgements at any time, clients that stop acknowledging, refuse,
// close or die, reclaim and evictions against each other, on a page cache with
// the locking of the kernel. At all times, what a live client sees through its
// memory between the answer to one request and the next is the content of the
// view it asked for; and everything that is waited for comes.
func TestEveryLiveClientSeesItsView(t *testing.T) {
	var next atomic.Uint64
	for worker := range runtime.GOMAXPROCS(0) {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			for i := next.Add(1) - 1; i < uint64(*schedules) && !t.Failed(); i = next.Add(1) - 1 {
				seed := *firstSeed + i
				if err := runIn(t, seed, unlimited); err != nil {
					next.Store(uint64(*schedules))
					least, err := shrink(t, seed, err)
					t.Fatalf("seed %d: %s\nwith at most %+v\nrepeat (the order of goroutines is not part of the seed): "+
						"go test ./internal/core/isolation -run EveryLiveClient -schedules 100 -seed %d", seed, err, least, seed)
				}
			}
		})
	}
}

// limits make a schedule smaller.
type limits struct{ Watchers, Strangers, Commits int }

var unlimited = limits{100, 100, 100}

// runIn runs one schedule in a bubble of its own.
func runIn(t *testing.T, seed uint64, l limits) (err error) {
	synctest.Test(t, func(t *testing.T) { err = runSchedule(t.Context(), seed, l) })
	return err
}

// shrink looks for the smallest limits with which the schedule of seed, or of
// one of the seeds after it, still fails.
func shrink(t *testing.T, seed uint64, err error) (least limits, last error) {
	const tries = 200
	least, last = limits{3, 2, 8}, err
	fails := func(l limits) bool {
		for i := range uint64(tries) {
			if err := runIn(t, seed+i, l); err != nil {
				last = err
				return true
			}
		}
		return false
	}
	for smaller := true; smaller; {
		smaller = false
		for _, l := range []limits{
			{least.Watchers - 1, least.Strangers, least.Commits},
			{least.Watchers, least.Strangers - 1, least.Commits},
			{least.Watchers, least.Strangers, least.Commits - 1},
		} {
			if min(l.Watchers, l.Strangers, l.Commits) >= 0 && fails(l) {
				least, smaller = l, true
				break
			}
		}
	}
	return least, last
}

const pinTimeout = 3 * time.Second

// schedule is one run.
type schedule struct {
	*livetest.System
	limits limits
	engine *Engine
	done   chan struct{}  // closed when it is time to end
	ends   sync.WaitGroup // processes that are ending

	watchers []*client

	mu sync.Mutex // what became of processes
}

func runSchedule(ctx context.Context, seed uint64, l limits) error {
	sys, err := livetest.NewSystem(ctx, seed, 1<<20)
	if err != nil {
		return err
	}
	defer sys.Close()
	s := &schedule{System: sys, limits: l, done: make(chan struct{})}
	s.engine = NewEngine(s.Ctx, s.Head, Config{PinTimeout: pinTimeout, Observer: failing(func(err error) { s.Fail("fatal: %w", err) })})
	defer s.engine.Close()
	defer s.Cancel()
	s.IsDying = s.isDying
	s.run()
	return s.Err()
}

// isDying reports whether the process of a thread is ending.
func (s *schedule) isDying(thread int) bool {
	return slices.ContainsFunc(s.watchers, func(c *client) bool { return c.thread == thread && c.ctx.Err() != nil })
}

func (s *schedule) isDone() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *schedule) run() {
	var all sync.WaitGroup
	for i := range min(1+s.Intn(3), s.limits.Watchers) {
		c := s.newClient(1000*(i+1), behaviour(s.Intn(int(behaviours))))
		if s.Intn(2) == 0 {
			c.behaviour = good
		}
		s.watchers = append(s.watchers, c)
	}
	for _, c := range s.watchers {
		all.Go(c.run)
	}
	for range min(1+s.Intn(2), s.limits.Strangers) {
		all.Go(s.stranger)
	}
	all.Go(func() {
		for !s.isDone() {
			time.Sleep(time.Duration(1+s.Intn(20)) * time.Millisecond)
			s.Kernel.Reclaim(int64(s.Intn(s.Pages())))
		}
	})
	all.Go(s.checker)
	all.Go(s.stat)
	s.commits()
	close(s.done)
	all.Wait()
	s.finish()
}

// commits commits at random, and requires that no client delays head/at.
func (s *schedule) commits() {
	for range min(3+s.Intn(6), s.limits.Commits) {
		time.Sleep(time.Duration(s.Intn(300)) * time.Millisecond)
		start := time.Now()
		event, err := s.Commit()
		if err != nil {
			s.Fail("commit: %w", err)
			return
		}
		if took := time.Since(start); took > 2*pinTimeout/3 { // loads are slow
			s.Fail("commit @%s took %s", event.Tid, took)
		}
	}
}

// stat asks for the size, and requires that no client delays that. If the file becomes
// longer again while the kernel still drops what is behind an end before, it meets READs
// of what is new, and waits as they do.
func (s *schedule) stat() {
	for !s.isDone() {
		time.Sleep(time.Duration(1+s.Intn(30)) * time.Millisecond)
		start, extends := time.Now(), s.Kernel.Extends()
		s.Kernel.Stat()
		if took := time.Since(start); took > pinTimeout/3 && s.Kernel.Extends() == extends {
			s.Fail("stat took %s", took)
		}
	}
}

// stranger reads without a watch: it gets the newest view, not older than
// head/at when it began, and does not wait for ever.
func (s *schedule) stranger() {
	for !s.isDone() {
		s.Nap(100 * time.Millisecond)
		from := int64(s.Intn(s.Pages()))
		to := min(from+1+int64(s.Intn(4)), int64(s.Pages()))
		at, start := s.Head.At(), time.Now()
		err := s.Kernel.ReadPages(s.Ctx, nil, 0, from, to)
		if err != nil && !errors.Is(err, live.ErrBehindEnd) {
			s.Fail("read: %w", err)
			return
		}
		if took := time.Since(start); took > time.Duration(1+2*len(s.watchers))*2*pinTimeout {
			s.Fail("READ took %s", took)
		}
		for i := from; i < to; i++ {
			if id, ok := s.Kernel.PageID(i); ok && !s.isOneOf(i, id, at) {
				s.Fail("page %d read with head/at @%d is %x", i, at, id)
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// isOneOf reports whether page i has the content of view at or a later one.
func (s *schedule) isOneOf(i int64, id livetest.ID, at zodb.Tid) bool {
	for _, tid := range s.Tids() {
		if tid >= at && id == s.PageID(tid, i) {
			return true
		}
	}
	return false
}

// checker looks at the memory of all clients all the time.
func (s *schedule) checker() {
	for !s.isDone() {
		time.Sleep(time.Duration(1+s.Intn(20)) * time.Millisecond)
		for _, c := range s.watchers {
			c.check()
		}
	}
}

// finish ends all clients and checks what is left of them.
func (s *schedule) finish() {
	for _, c := range s.watchers {
		c.leave()
	}
	for deadline := time.Now().Add(3 * pinTimeout); s.engine.Stats().WatchLink > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fail("links are left: %+v", s.engine.Stats())
			return
		}
	}
	s.ends.Wait()
	s.Loader.Wait()
	stats := s.engine.Stats()
	if stats.Watch != 0 || stats.PinnedBlk != 0 {
		s.Fail("watches are left: %+v", stats)
	}
	for _, c := range s.watchers {
		c.checkFate()
	}
}
