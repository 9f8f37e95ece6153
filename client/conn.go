package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/go123/xerr"
)

// Conn shows files as of one view. It has a link to the server of its own.
type Conn struct {
	w      *WCFS
	fd     int // head/watch
	pinner *pinner

	ctx    context.Context // ends when the Conn is closed; its cause is an error that wraps ErrClosed
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // of the pinner, who reads its lines, and what follows cancelled calls
	dark   chan struct{}  // closed when all mappings fault, after the Conn is closed
	ended  chan struct{}  // closed when all of the Conn has ended
	once   sync.Once      // for the end

	// view guards at, and what the files have of it. A user of the view
	// acquires 1 of it, and who changes the view all.
	view *semaphore.Weighted
	at   Tid // changed with mu held as well

	// mu guards what follows. It is held for memory operations only.
	mu       sync.Mutex
	users    int // of the pinner: mappings, and 1 until the Conn has ended
	files    map[Oid]*handle
	pending  map[uint64]chan<- string // requests without an answer yet, by stream
	stream   uint64                   // of the last request
	lastWord string                   // what the server said on stream 0
}

// viewAll is all of Conn.view.
const viewAll = math.MaxInt64

// closeWait bounds how long Close waits for the server.
const closeWait = 10 * time.Second

// Connect returns a new Conn at a view, which may be Head. It waits until the
// server shows that view. Errors: ErrCrashed, ErrClosed after w was closed,
// that of ctx, and those of the operating system.
func (w *WCFS) Connect(ctx context.Context, at Tid) (_ *Conn, err error) {
	defer xerr.Contextf(&err, "wcfs %s: connect @%s", w.point, at)
	if at == Head {
		head, err := w.Head()
		if err != nil {
			return nil, err
		}
		at = head
	}
	if _, err := w.waitHead(ctx, at); err != nil {
		return nil, err
	}
	fd, err := w.open("head/watch", unix.O_RDWR)
	if err != nil {
		return nil, err
	}
	return newConn(w, fd, at)
}

// newConn starts a Conn on the link fd, which it takes over.
func newConn(w *WCFS, fd int, at Tid) (*Conn, error) {
	c := &Conn{
		w:       w,
		fd:      fd,
		dark:    make(chan struct{}),
		ended:   make(chan struct{}),
		view:    semaphore.NewWeighted(viewAll),
		at:      at,
		users:   1,
		files:   make(map[Oid]*handle),
		pending: make(map[uint64]chan<- string),
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = unix.Close(fd)
		return nil, ErrClosed
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		_ = unix.Close(fd)
		return nil, failed("pipe", err)
	}
	var err error
	if c.pinner, err = newPinner(fd, w.dir, pipe[1]); err != nil {
		for _, fd := range []int{fd, pipe[0], pipe[1]} {
			_ = unix.Close(fd)
		}
		return nil, err
	}
	w.conns[c] = struct{}{}
	c.wg.Go(c.pinner.serve)
	c.wg.Go(func() { c.readLines(os.NewFile(uintptr(pipe[0]), "lines of head/watch")) })
	return c, nil
}

// At returns the view.
func (c *Conn) At() Tid {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Close makes all mappings fault and ends the link. Calls in progress fail with
// ErrClosed. A second Close does nothing, but waits for the first one.
//
// Error: ErrTimeout if the server does not answer for 10 s. A goroutine and
// descriptors stay in use then, until it answers or is gone, and mappings may
// still show the view.
func (c *Conn) Close() error {
	c.close(nil)
	select {
	case <-c.ended:
		return nil
	case <-time.After(closeWait):
		return fmt.Errorf("wcfs %s: close: %w", c.w.point, ErrTimeout)
	}
}

// close starts to close the Conn, because of cause if that is not nil.
func (c *Conn) close(cause error) {
	c.once.Do(func() {
		err := ErrClosed
		if cause != nil {
			err = fmt.Errorf("%w: %w", ErrClosed, cause)
		}
		c.cancel(err)
		go c.end() // what it does is waited for by means of ended
	})
}

// end ends everything that c has.
func (c *Conn) end() {
	// When nothing is mapped that a commit could change the server may forget
	// about us: it ends the link then, and with it the pinner. If something
	// still is, which the kernel ought not to let happen, it must go on asking.
	done := c.pinner.shut()
	close(c.dark)
	if done {
		_ = c.write(c.newStream(nil), "bye")
	}
	_ = c.view.Acquire(context.Background(), viewAll) // calls in progress end
	c.wg.Wait()
	for _, h := range c.files {
		_ = unix.Close(h.fd)
	}
	_ = unix.Close(c.fd)
	c.unuse()
	c.w.mu.Lock()
	delete(c.w.conns, c)
	c.w.mu.Unlock()
	close(c.ended)
}

// unuse frees what the pinner has when nothing is mapped any more.
func (c *Conn) unuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users--; c.users == 0 {
		c.pinner.destroy()
	}
}

// lost closes a Conn whose pinner does not work any more, and returns why.
func (c *Conn) lost() error {
	c.close(c.failure())
	return context.Cause(c.ctx)
}

// failure tells why the pinner has given up by itself. It is nil if it has not.
func (c *Conn) failure() error {
	why, errno := c.pinner.why()
	switch why {
	case stateClosed:
		return nil
	case stateProtocol:
		return ErrProtocol
	case statePin:
		return fmt.Errorf("%w: %w", ErrPin, errno)
	}
	// A request that a server has begun to handle when it dies may end in all
	// ways, so look again.
	if _, err := c.w.Head(); errors.Is(err, ErrCrashed) {
		return err
	}
	if why == stateLost {
		return failed("read head/watch", fmt.Errorf("%w: %w", ErrDown, errno))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lastWord != "" {
		return fmt.Errorf("%w: %s", ErrDown, c.lastWord)
	}
	return ErrDown
}

// use lets the caller use the view, until the returned function is called, and
// returns a context that also ends when c is closed.
func (c *Conn) use(ctx context.Context) (_ context.Context, done func(), err error) {
	return c.acquire(ctx, 1)
}

func (c *Conn) acquire(ctx context.Context, n int64) (_ context.Context, done func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(context.Cause(c.ctx)) })
	if c.ctx.Err() == nil {
		if err := c.view.Acquire(ctx, n); err == nil {
			done = func() {
				c.view.Release(n)
				stop()
				cancel(nil)
			}
			if why, _ := c.pinner.why(); why == stateLive {
				return ctx, done, nil
			}
			err = c.lost()
			done()
			return nil, nil, err
		}
	}
	stop()
	cancel(context.Cause(c.ctx))
	return nil, nil, context.Cause(ctx)
}

// wrap adds to an error where it was met. If the Conn is closed, that is why.
func (c *Conn) wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if c.ctx.Err() != nil && !errors.Is(err, ErrClosed) {
		err = fmt.Errorf("%w: %w", context.Cause(c.ctx), err)
	}
	return fmt.Errorf("wcfs %s: conn @%s: %s: %w", c.w.point, c.At(), fmt.Sprintf(format, args...), err)
}

// errnoError returns errno as an error, nil if it is 0.
func errnoError(what string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return failed(what, errno)
}
