package isolation

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/live"
)

// Process is the client behind a link.
type Process interface {
	Pid() int              // of the thread group
	HasThread(id int) bool // whether a thread belongs to it
	Signal(sig syscall.Signal) error
	Wait(ctx context.Context) error // returns nil once it has ended; a zombie has
	Doomed() bool                   // whether it is being killed and will run nothing of its own any more
	Close()                         // gives up the handle
}

// Config is what an Engine needs besides the head.
type Config struct {
	PinTimeout time.Duration // to acknowledge a pin, from its sending or from when a READ waits for it
	MaxLinks   int           // each takes a descriptor; 0: no bound
	Observer   core.Observer
}

// Engine is all links of a server.
type Engine struct {
	ctx  context.Context
	head *live.Head
	cfg  Config
	wg   sync.WaitGroup // ends of links

	mu    sync.Mutex
	links map[*Link]struct{}
	open  int         // links, and those that are being opened
	byPid map[int]int // how many links a process has
	last  uint64      // id of the last link

	pins  atomic.Uint64
	kills atomic.Uint64

	lines *rate.Limiter // of the log, about what clients do to themselves
}

// Lines about links that break or are closed are bounded: a client may open and
// break one after another.
const (
	linesPerSecond = 10
	linesBurst     = 1000
)

// tell logs a line about a client, by say, if there were not too many of them.
func (e *Engine) tell(say func(format string, args ...any), format string, args ...any) {
	if e.lines.Allow() {
		say(format, args...)
	}
}

// NewEngine returns an engine without links. Links end when ctx does.
func NewEngine(ctx context.Context, h *live.Head, cfg Config) *Engine {
	return &Engine{ctx: ctx, head: h, cfg: cfg, links: make(map[*Link]struct{}), byPid: make(map[int]int),
		lines: rate.NewLimiter(linesPerSecond, linesBurst)}
}

// Close waits until all links have ended. The context of NewEngine must have.
func (e *Engine) Close() {
	for _, l := range e.list() {
		l.shutdown(downStopped, nil)
	}
	e.wg.Wait()
}

// perClient says that one client may have that part of all links.
const perClient = 4

// reserve counts a link that is being opened.
func (e *Engine) reserve() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cfg.MaxLinks > 0 && e.open >= e.cfg.MaxLinks {
		return fmt.Errorf("%w: %d", ErrTooManyLinks, e.open)
	}
	e.open++
	return nil
}

// unreserve takes reserve back.
func (e *Engine) unreserve() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open--
}

// enter makes a link known for which there is a reservation. It returns false if
// its client has too many.
func (e *Engine) enter(l *Link) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	pid := l.proc.Pid()
	if e.cfg.MaxLinks > 0 && e.byPid[pid] >= max(1, e.cfg.MaxLinks/perClient) {
		return false
	}
	e.byPid[pid]++
	e.last++
	l.id = e.last
	e.links[l] = struct{}{}
	return true
}

// leave takes enter and reserve back.
func (e *Engine) leave(l *Link) {
	e.mu.Lock()
	defer e.mu.Unlock()
	pid := l.proc.Pid()
	if e.byPid[pid]--; e.byPid[pid] == 0 {
		delete(e.byPid, pid)
	}
	e.open--
	delete(e.links, l)
}

func (e *Engine) list() (links []*Link) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.links {
		links = append(links, l)
	}
	return links
}
