package server

import (
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wcfs/wcfs/internal/serve/mount"
)

// usage tells since when nobody uses the mount. Clients say that they do; others
// just have something open.
type usage struct {
	mu    sync.Mutex
	n     int       // clients
	ever  bool      // there has been one
	open  int       // files and directories that are open
	since time.Time // when somebody was seen using the mount last
}

func newUsage() *usage { return &usage{} }

// joined is called with +1 and -1 as clients come and go.
func (u *usage) joined(delta int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.n += delta
	u.ever, u.since = true, time.Now()
}

// opened is called with +1 and -1 as anything is opened and closed. An open file
// alone is no use of the mount: a health check that looks now and then is not to
// keep the server.
func (u *usage) opened(delta int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open += delta
}

// used notes that somebody uses the mount now.
func (u *usage) used(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since = now
}

// unusedFor reports whether all clients that there have been are gone, and nobody
// has come or has had something open for that long. It must be asked often, since
// it looks for what is open when it is asked.
func (u *usage) unusedFor(now time.Time, long time.Duration) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n > 0 || u.open > 0 {
		u.since = now
	}
	return u.ever && u.n == 0 && u.open == 0 && now.Sub(u.since) >= long
}

// entrance is what every request passes first.
type entrance struct {
	fuse.RawFileSystem
	usage    *usage
	stopping func() bool
}

func (e *entrance) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return e.opened(e.RawFileSystem.Open(cancel, in, out))
}

func (e *entrance) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return e.opened(e.RawFileSystem.OpenDir(cancel, in, out))
}

func (e *entrance) opened(status fuse.Status) fuse.Status {
	if status.Ok() {
		e.usage.opened(+1)
	}
	return status
}

func (e *entrance) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	e.RawFileSystem.Release(cancel, in)
	e.usage.opened(-1)
}

func (e *entrance) ReleaseDir(in *fuse.ReleaseIn) {
	e.RawFileSystem.ReleaseDir(in)
	e.usage.opened(-1)
}

// StatFs tells a server that wants to start here that this one is about to go.
func (e *entrance) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	if e.stopping() {
		return fuse.Status(mount.Stopping)
	}
	return e.RawFileSystem.StatFs(cancel, in, out)
}
