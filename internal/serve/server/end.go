package server

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/golang/glog"
)

// endPatience is how long what runs for clients may take to end, and once more
// after the connection to the kernel was given up.
const endPatience = 500 * time.Millisecond

// step is something that has to end, and how to wait for that.
type step struct {
	what string
	wait func()
}

// end ends all that runs for clients, by cancel, and waits for it in order.
// Threads that wait for the kernel are freed by giving up the connection: a
// process in which a thread waits for what the process itself has to answer could
// not end. A step that does not end even so is left to the end of the process; a
// goroutine of ours waits with it.
func (s *server) end(cancel context.CancelFunc, steps []step) {
	cancel()
	var at atomic.Value // of string: what is waited for
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, step := range steps {
			at.Store(step.what)
			step.wait()
		}
	}()
	if endsWithin(done, endPatience) {
		return
	}
	glog.Warningf("these take long to end: %s; giving up the FUSE connection", at.Load())
	if s.device != nil {
		if err := s.device.Abort(); err != nil {
			glog.Warningf("%s", err)
		}
	}
	if !endsWithin(done, endPatience) {
		glog.Errorf("these do not end: %s; they end with the process", at.Load())
	}
}

func endsWithin(done <-chan struct{}, d time.Duration) bool {
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}
