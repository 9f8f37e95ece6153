package isolation

import (
	"context"
	"sync"
	"syscall"
	"time"
)

// fakeProcess ends some time after a signal, when none of its threads is in a
// page fault: one that is cannot be killed.
type fakeProcess struct {
	c      *client
	cancel context.CancelFunc
	once   sync.Once
	faults sync.WaitGroup
	ended  chan struct{}
	killed bool
}

func (p *fakeProcess) Pid() int              { return p.c.thread }
func (p *fakeProcess) HasThread(id int) bool { return id == p.c.thread }
func (p *fakeProcess) Doomed() bool          { return false }
func (p *fakeProcess) Close()                {}

func (p *fakeProcess) Signal(sig syscall.Signal) error {
	p.c.s.mu.Lock()
	p.killed = true
	p.c.s.mu.Unlock()
	if sig == syscall.SIGBUS && p.c.s.Intn(2) == 0 {
		return nil // it is ignored
	}
	p.end()
	return nil
}

// end ends the process.
func (p *fakeProcess) end() {
	p.once.Do(func() {
		p.c.mu.Lock() // no fault begins after this
		p.cancel()
		p.c.mu.Unlock()
		p.c.s.ends.Go(func() {
			p.faults.Wait()
			p.c.s.Nap(20 * time.Millisecond)
			p.c.link.Release() // files are closed before the process counts as ended
			p.c.s.Nap(pinTimeout / 10)
			close(p.ended)
		})
	})
}

func (p *fakeProcess) Wait(ctx context.Context) error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
