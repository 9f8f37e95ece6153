package witness

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"time"
)

// Kind is a way to behave, as a client of the mount.
type Kind struct {
	Name   string
	Weight int
	Client string                         // what the C program is asked to be
	Ended  bool                           // the server may end it
	Slow   bool                           // to answer pins, or never does
	Act    func(p *Process, r *rand.Rand) // what happens to it
}

var kinds = []Kind{
	{Name: "watch", Weight: 6, Client: "watch"},
	{Name: "restless", Weight: 3, Client: "restless"},
	{Name: "late", Weight: 1, Client: "late", Slow: true},
	{Name: "head", Weight: 4, Client: "head"},
	{Name: "past", Weight: 3, Client: "past"},
	{Name: "mute", Weight: 1, Client: "mute", Ended: true, Slow: true},
	{Name: "nak", Weight: 1, Client: "nak", Ended: true, Slow: true},
	{Name: "drop", Weight: 1, Client: "drop", Ended: true, Slow: true},
	{Name: "stopped", Weight: 2, Client: "watch", Slow: true, Act: stop(pinTimeout / 2)},
	{Name: "stopped-too-long", Weight: 1, Client: "watch", Ended: true, Slow: true, Act: stop(pinTimeout * 5 / 2)},
	{Name: "killed", Weight: 3, Client: "watch", Act: kill},
	{Name: "killed-while-restless", Weight: 2, Client: "restless", Act: kill},
	{Name: "killed-while-reading", Weight: 2, Client: "head", Act: kill},
	// Its own fault waits for the pin that it does not answer.
	{Name: "killed-in-its-fault", Weight: 2, Client: "mute", Ended: true, Slow: true, Act: kill},
}

// choose returns one of the kinds.
func choose(r *rand.Rand) Kind {
	total := 0
	for _, k := range kinds {
		total += k.Weight
	}
	n := r.IntN(total)
	for _, k := range kinds {
		if n -= k.Weight; n < 0 {
			return k
		}
	}
	panic("not reached")
}

func stop(d time.Duration) func(*Process, *rand.Rand) {
	return func(p *Process, r *rand.Rand) {
		if p.WaitFor(upTo(r, 2*time.Second)) {
			return
		}
		p.Signal(syscall.SIGSTOP)
		p.WaitFor(d)
		p.Signal(syscall.SIGCONT)
	}
}

func kill(p *Process, r *rand.Rand) {
	if !p.WaitFor(upTo(r, 5*time.Second)) {
		p.Signal(syscall.SIGKILL)
	}
}

func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

// verdict says what is wrong with the end of a client; "" if nothing is.
func (k Kind) verdict(p *Process) string {
	switch status := p.Status(); {
	case status.Exited() && status.ExitStatus() == 0:
		return ""
	case status.Signaled() && status.Signal() == syscall.SIGKILL && (k.Ended || k.killed()):
		return ""
	case status.Signaled() && status.Signal() == syscall.SIGBUS && k.Ended:
		return ""
	default:
		return p.cmd.ProcessState.String()
	}
}

// killed reports whether it is the test that may kill it.
func (k Kind) killed() bool { return strings.HasPrefix(k.Name, "killed") }
