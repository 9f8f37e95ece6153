package isolation

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcfs/wcfs/internal/core/wire"
)

// dyingPatience is how long a client whose link broke may take to end by itself.
// The kernel closes files of a process before it counts as ended (do_exit in
// kernel/exit.c of Linux).
const dyingPatience = 3 * time.Second

// shutdown takes the link down, for the first reason that is given, and starts
// what has to follow. The last message to the client is why, if that is not nil; it is
// a *pinError if a pin has failed. Nobody waits for the client to read it. The client
// sees the end of the link once it is known whether it has to be ended, and then only
// after that.
func (l *Link) shutdown(reason downReason, why error) {
	l.mu.Lock()
	if l.down {
		l.mu.Unlock()
		return
	}
	failure, fatal := why.(*pinError)
	if !fatal {
		failure = l.oldestMessage()
	}
	l.down, l.reason, l.failure = true, reason, failure
	l.mu.Unlock()
	switch {
	case why == nil:
		l.out.Say("")
	case fatal:
		l.out.Say(wire.Frame{Msg: "fatal: " + why.Error()}.Line())
	default:
		l.out.Say(wire.Frame{Msg: "error: " + why.Error()}.Line())
	}
	if !l.mustEndClient() {
		l.out.End()
	}
	l.cancel()
	l.engine.wg.Go(l.end)
}

// mustEndClient reports whether the client may see wrong data. It is asked when the
// link is down.
func (l *Link) mustEndClient() bool {
	return l.failure != nil && l.reason != downBye && l.reason != downStopped
}

// end waits until nothing of the link runs, ends the client if it has to be, and
// only then lets READs go on without it.
func (l *Link) end() {
	defer l.leave()
	l.wg.Wait()
	if l.reason == downEOF {
		l.engine.tell(l.engine.cfg.Observer.Infof, "wlink %d: pid%d: closed without bye", l.id, l.proc.Pid())
	}
	if !l.mustEndClient() || l.engine.endClient(l) {
		for _, w := range l.watchList() {
			w.Drop()
		}
	} // else data stays held back until the server has ended
	l.out.End()
	l.engine.leave(l)
}

// endClient makes sure that the client of l does not see wrong data: it returns
// true when the process has ended. Killing takes at most a third of the pin
// timeout.
func (e *Engine) endClient(l *Link) bool {
	if l.isDying() {
		return true
	}
	pid, t, errorf := l.proc.Pid(), e.cfg.PinTimeout, e.cfg.Observer.Errorf
	if l.reason == downLost {
		errorf("pid%d: client has seen a view that is gone: %s", pid, l.failure.cause)
	} else {
		errorf("pid%d: client failed to handle pin notification correctly and timely in %s: %s", pid, t, l.failure)
	}
	errorf("pid%d: -> killing it because else 1) all other clients will remain stuck, and 2) it itself may see wrong data", pid)
	errorf(`pid%d:    (see "Protection against slow or faulty clients" in the documentation)`, pid)
	condemned := e.head.Condemn(l.proc.HasThread)
	if err := l.kill(t / 3); err != nil {
		errorf("pid%d: failed to kill it: %s", pid, err)
		errorf("pid%d: this is major unexpected event.", pid)
		e.cfg.Observer.Failed(fmt.Errorf("client pid%d may see wrong data and cannot be killed: %w", pid, err))
		return false
	}
	condemned.Absolve()
	errorf("pid%d: terminated", pid)
	l.killed()
	return true
}

// isDying reports whether the process has ended by itself, or does so soon.
func (l *Link) isDying() bool {
	patience := time.Duration(0)
	switch {
	case l.failure.malformed:
		return false
	case !l.failure.timedOut():
		patience = min(dyingPatience, time.Until(l.failure.deadline))
	}
	return l.endsWithin(patience)
}

// endsWithin waits for the process to end.
func (l *Link) endsWithin(d time.Duration) bool {
	timer := time.NewTimer(max(d, time.Millisecond))
	defer timer.Stop()
	select {
	case <-l.dead:
		return true
	case <-timer.C:
		return false
	}
}

// kill ends the process: with the signal that the kernel sends when mapped data
// cannot be had, and if that is not enough, for good. It takes up to limit, and half
// of that for the signal that a process can catch.
func (l *Link) kill(limit time.Duration) error {
	pid, errorf := l.proc.Pid(), l.engine.cfg.Observer.Errorf
	for _, sig := range []syscall.Signal{syscall.SIGBUS, syscall.SIGKILL} {
		name := unix.SignalName(sig)
		errorf("pid%d: <- %s", pid, name)
		if err := l.proc.Signal(sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("%s: %w", name, err)
		}
		if l.endsWithin(limit / 2) {
			return nil
		}
		if sig == syscall.SIGBUS {
			errorf("pid%d:    is still alive after SIGBUS", pid)
		}
	}
	if l.proc.Doomed() {
		errorf("pid%d:    cannot end, since it waits for another filesystem or device; it will not run again, and counts as ended", pid)
		return nil
	}
	return errors.New("is still alive after SIGKILL")
}
