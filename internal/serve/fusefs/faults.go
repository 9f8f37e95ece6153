package fusefs

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Lines about failed requests are bounded, so that no client can fill the disk of
// the log: one that reads a damaged block in a loop, or asks for names that cannot
// be.
const (
	faultsPerSecond = 10
	faultsBurst     = 1000

	// sameFault is how long the same is not said again.
	sameFault = 10 * time.Second

	// maxFaults bounds the faults that are remembered.
	maxFaults = 1024
)

// faults logs errors, each now and then only.
type faults struct {
	limit *rate.Limiter

	mu     sync.Mutex // map operations only
	known  map[string]*failure
	unsaid int // lines that were left out since there were too many
}

// failure is an error that was logged.
type failure struct {
	said   time.Time
	unsaid int // times that it happened since
}

func newFaults() *faults {
	return &faults{limit: rate.NewLimiter(faultsPerSecond, faultsBurst), known: make(map[string]*failure)}
}

// log logs err with say, as of the caller of the caller, unless the same was said
// just now, or very much else.
func (fs *faults) log(err error, say func(depth int, args ...any)) {
	text := err.Error()
	again, others, ok := fs.note(text, time.Now())
	if !ok {
		return
	}
	switch {
	case again > 0:
		say(2, text, "; and ", again, " times more since that was said last")
	default:
		say(2, text)
	}
	if others > 0 {
		say(2, "before that: ", others, " lines about other requests")
	}
}

// note notes that a fault happened, and returns whether it is to be said, and what
// was left out before.
func (fs *faults) note(text string, now time.Time) (again, others int, ok bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.known[text]; f != nil {
		if now.Sub(f.said) < sameFault {
			f.unsaid++
			return 0, 0, false
		}
		again = f.unsaid
	}
	if !fs.limit.AllowN(now, 1) {
		fs.unsaid++
		return 0, 0, false
	}
	if len(fs.known) >= maxFaults {
		fs.forget(now)
	}
	fs.known[text] = &failure{said: now}
	others, fs.unsaid = fs.unsaid, 0
	return again, others, true
}

// forget lets go of faults that are over, or of all of them. Requires: fs.mu.
func (fs *faults) forget(now time.Time) {
	for text, f := range fs.known {
		if now.Sub(f.said) >= sameFault {
			delete(fs.known, text)
		}
	}
	if len(fs.known) >= maxFaults {
		clear(fs.known)
	}
}
