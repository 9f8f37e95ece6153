package server

import (
	"github.com/golang/glog"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/serve/observe"
	"github.com/wcfs/wcfs/internal/serve/proc"
)

// outside is all that the core tells to others and asks of them. Lines of the log name the
// place in the core that they come from.
type outside struct {
	*observe.Observer
	server *server
}

var (
	_ core.Observer  = outside{}
	_ core.Processes = outside{}
)

func (o outside) Preserved(oid zodb.Oid, rev zodb.Tid) { o.server.tree.StorePreserved(oid, rev) }
func (o outside) Failed(err error)                     { o.server.fail(&DownError{err}) }

func (o outside) Infof(format string, args ...any)  { glog.InfoDepthf(1, format, args...) }
func (o outside) Warnf(format string, args ...any)  { glog.WarningDepthf(1, format, args...) }
func (o outside) Errorf(format string, args ...any) { glog.ErrorDepthf(1, format, args...) }

func (o outside) IsDying(thread int) bool         { return proc.ThreadIsDying(thread) }
func (o outside) Faulting(pid int) map[int]uint64 { return proc.Faulting(pid) }
