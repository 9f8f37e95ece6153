package server

import "sync/atomic"

// clientCount counts the clients that say they use the mount, and tells when
// the last of them is gone.
type clientCount struct {
	n    atomic.Int64
	idle chan struct{} // of capacity 1; sent to when the count falls to zero
}

func newClientCount() *clientCount { return &clientCount{idle: make(chan struct{}, 1)} }

// add is called with +1 and -1 as clients come and go.
func (c *clientCount) add(delta int) {
	c.n.Add(int64(delta))
	c.check()
}

// check tells that nobody is there, if that is so.
func (c *clientCount) check() {
	if !c.gone() {
		return
	}
	select {
	case c.idle <- struct{}{}:
	default: // told already
	}
}

// gone reports whether nobody is there now.
func (c *clientCount) gone() bool { return c.n.Load() == 0 }
