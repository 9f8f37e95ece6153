package live_test

import (
	"testing"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/live"
)

// outside is what a test knows of the outside of the core. Functions may be nil.
type outside struct {
	core.Alone
	t         testing.TB // nil: warnings do not matter
	preserved func(oid zodb.Oid, rev zodb.Tid)
	dying     func(thread int) bool
	faulting  func(pid int) map[int]uint64
}

func (o outside) Warnf(format string, args ...any) {
	if o.t != nil {
		o.t.Logf(format, args...)
	}
}

func (o outside) Preserved(oid zodb.Oid, rev zodb.Tid) {
	if o.preserved != nil {
		o.preserved(oid, rev)
	}
}

func (o outside) IsDying(thread int) bool { return o.dying != nil && o.dying(thread) }

func (o outside) Faulting(pid int) map[int]uint64 {
	if o.faulting == nil {
		return nil
	}
	return o.faulting(pid)
}

// complete sets what a test has left out of a configuration.
func complete(cfg *live.Config, o outside) {
	if cfg.Observer == nil {
		cfg.Observer = o
	}
	if cfg.Processes == nil {
		cfg.Processes = o
	}
}
