// Package isolation speaks the protocol of head/watch with clients: it tells
// them, block by block, what to map from past views, so that memory mapped from
// head/ shows an unchanging snapshot. Package live decides what has to be pinned, and
// package wire says it; here are the links and the clients.
//
// # Nouns
//
// A Link is one open of head/watch, by one process. On it the client sets up,
// moves and removes watches, and is sent pins, which it has to acknowledge within
// a time.
//
// # Protection against bad clients
//
// Data is held back until all clients that must not see it are known not to. So
// a client that does not acknowledge a pin in time is ended: its process, which
// was found out when the link was opened and is held by a handle, so that nobody
// else can be hit. A client that hangs in the kernel, but will run nothing of its own
// any more, counts as ended. If a client may run again the whole filesystem is ended,
// rather than serve anybody while it may see wrong data. A client that says bye, or
// that is dying by itself, is left alone.
//
// # Ownership and locking
//
// Write and Read of a Link are called by the transport. Write never blocks. All
// goroutines of a link, one for each watch request in progress and for each
// block with pins to send, are waited for before its watches are dropped; the one
// that waits for the end of the client ends after that. Locks
// are held for map operations only, and nothing is waited for but channels, so
// that tests run it all with time standing still.
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
