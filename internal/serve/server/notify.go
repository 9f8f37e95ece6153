package server

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/golang/glog"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// Supervisor is the service manager that has started the process, as systemd.
type Supervisor struct {
	// Notify sends it a message, of lines as sd_notify(3) describes them.
	Notify func(message string) error

	// Watchdog is how long it waits for a sign of life before it ends the
	// process. 0: it does not.
	Watchdog time.Duration
}

// tell sends a message to the supervisor, if there is one.
func (s *server) tell(lines ...string) {
	if s.opt.Supervisor == nil {
		return
	}
	if err := s.opt.Supervisor.Notify(strings.Join(lines, "\n")); err != nil {
		glog.Warningf("tell the service manager %s: %s", lines[0], err)
	}
}

func (s *server) tellReady() {
	s.phase.Store(serving)
	s.tell("READY=1", "STATUS=serving "+storage.Redact(s.opt.ZURL)+" at "+s.place.Dir)
}

func (s *server) tellStopping(err error) {
	s.phase.Store(stopping)
	status := "STATUS=stopping"
	if err != nil {
		status += ": " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	s.tell("STOPPING=1", status)
}

// waitWatched is wait, with a supervisor who is told about it.
func (s *server) waitWatched(ctx context.Context, served <-chan struct{}) error {
	s.tellReady()
	watched, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var watchdog sync.WaitGroup
	watchdog.Go(func() { s.watchdog(watched) })
	err := s.wait(ctx, served)
	s.probe.stop() // it may be asking
	cancel()
	watchdog.Wait()
	return err
}

// watchdog gives signs of life until ctx ends, as long as the mount answers: a
// server that hangs is of no use to anybody, and is better started anew.
func (s *server) watchdog(ctx context.Context) {
	if s.opt.Supervisor == nil || s.opt.Supervisor.Watchdog <= 0 {
		return
	}
	ticker := time.NewTicker(max(s.opt.Supervisor.Watchdog/2, time.Millisecond))
	defer ticker.Stop()
	for {
		err := s.probe.check(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			s.tell("WATCHDOG=1")
		default:
			glog.Errorf("the mount does not answer: %s; without that in %s the service manager will end the server",
				err, s.opt.Supervisor.Watchdog)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
