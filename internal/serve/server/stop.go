package server

import (
	"context"
	"errors"
	"time"

	"github.com/golang/glog"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// panicked stops the server after a panic in a handler: nobody knows what
// state it is in, and no data is better than wrong data.
func (s *server) panicked(err error) {
	s.fail(&fault.Error{Kind: fault.Bug, Msg: err.Error(), Err: err})
}

// fail makes the server stop serving because of err.
func (s *server) fail(err error) {
	var down *DownError
	if errors.As(err, &down) {
		s.observer.Down(err)
	}
	select {
	case s.failed <- err:
	default: // it is stopping already
	}
}

// wait returns when the server has to stop, with the reason if it is an error.
func (s *server) wait(ctx context.Context, served <-chan struct{}) error {
	look := time.NewTicker(lookAround)
	defer look.Stop()
	sweep := time.NewTicker(min(s.opt.ViewIdle/10, maxSweep))
	defer sweep.Stop()
	place := time.NewTicker(lookForMount)
	defer place.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-served:
			return s.disconnected()
		case err := <-s.failed:
			return err
		case now := <-sweep.C:
			s.tree.DropIdle(now.Add(-s.opt.ViewIdle))
		case <-place.C:
			if !s.device.OnDirectory() {
				place.Stop()
				s.leaveDirectory()
			}
		case now := <-look.C:
			// A request that waits for a client would keep served from being closed.
			if s.device.Disconnected() {
				return s.disconnected()
			}
			if s.opt.AutoExit && s.leave(now) {
				glog.Info("the last client is gone")
				return nil
			}
		}
	}
}

// leaveDirectory lets another server have the directory: somebody has detached the
// mount, or moved it, while somebody else is inside. Those are served until they leave.
func (s *server) leaveDirectory() {
	if s.device.Disconnected() {
		return // nobody is inside
	}
	glog.Warningf("mount point %q: somebody has detached the mount; who is inside is served until they leave", s.place.Dir)
	s.device.LeaveDirectory()
}

// disconnected tells what it means that the kernel has given up the connection:
// that is no failure if somebody has unmounted.
func (s *server) disconnected() error {
	if s.device.Mounted() {
		return &fault.Error{Kind: fault.Aborted, About: "mount point " + s.place.Dir,
			Msg: "the FUSE connection was aborted by somebody", Hint: "what used the mount gets ENOTCONN"}
	}
	return nil
}

// leave unmounts if nobody has used the mount for long enough. The kernel refuses
// that while anything of the mount is open, and whoever comes after it finds the
// directory below, and starts a server. So nobody loses what they have opened.
func (s *server) leave(now time.Time) bool {
	if !s.usage.unusedFor(now, s.opt.Linger) {
		return false
	}
	if s.device.Unmount() == nil {
		return true
	}
	s.usage.used(time.Now()) // as a current directory; nothing tells when that is left
	return false
}
