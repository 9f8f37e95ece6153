package core

import (
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// Observer is told what happens in the core. Its methods may be called from any goroutine.
// Those about commits and clients must not block.
type Observer interface {
	Committed(c Commit) // after it was published
	Pinned(p Pin)       // when the fate of the pin is known
	Killed(k Kill)      // when the client has ended

	// Preserved is told the revision of old content that came up, as something that may
	// be stored for past views. It may take its time: nobody waits.
	Preserved(oid zodb.Oid, rev zodb.Tid)

	// Failed is told that a client which may see wrong data cannot be ended: the
	// filesystem must go.
	Failed(err error)

	// Infof, Warnf and Errorf write a line of the log.
	Infof(format string, args ...any)
	Warnf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Processes answers questions about processes. It is asked without locks.
type Processes interface {
	// IsDying reports whether a thread that has got a signal will not return to its
	// program.
	IsDying(thread int) bool

	// Faulting returns the threads of a process that may be in a page fault, each with
	// a mark that is another one when that fault is over.
	Faulting(pid int) map[int]uint64
}

// Commit is one transaction that was taken in.
type Commit struct {
	Tid    zodb.Tid
	Files  int // files of which something changed
	Blocks int // blocks that were invalidated; a file from somewhere to its end counts as one
	Took   time.Duration
}

// Pin is a pin that was sent, or could not be.
type Pin struct {
	Pid  int
	Oid  zodb.Oid
	Blk  int64
	Rev  string // 16 hexadecimal digits, or "head"
	Took time.Duration
	Err  error // nil: acknowledged
}

// Kill is the end of a client that may have seen wrong data.
type Kill struct {
	Pid    int
	Reason Reason
	Why    string
}

// Reason says why a client was ended.
type Reason string

const (
	TimedOut Reason = "timeout"  // it did not acknowledge a pin in time
	Refused  Reason = "refused"  // it answered a pin with something else
	Broke    Reason = "protocol" // it broke the protocol while a pin was not acknowledged
	Closed   Reason = "closed"   // it closed the link while a pin was not acknowledged
)

// Reasons is all reasons.
func Reasons() []Reason { return []Reason{TimedOut, Refused, Broke, Closed} }

// Alone is an Observer that takes no notice, and Processes that nobody knows anything
// of. Tests make theirs of it.
type Alone struct{}

func (Alone) Committed(Commit)             {}
func (Alone) Pinned(Pin)                   {}
func (Alone) Killed(Kill)                  {}
func (Alone) Preserved(zodb.Oid, zodb.Tid) {}
func (Alone) Failed(error)                 {}
func (Alone) Infof(string, ...any)         {}
func (Alone) Warnf(string, ...any)         {}
func (Alone) Errorf(string, ...any)        {}
func (Alone) IsDying(int) bool             { return false }
func (Alone) Faulting(int) map[int]uint64  { return nil }
