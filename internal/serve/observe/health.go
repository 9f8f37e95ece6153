package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Check is one thing that must be so for a server to be ready. Test returns why it
// is not, in words for an operator.
type Check struct {
	Name string
	Test func(ctx context.Context) error
}

// Health is what a server answers about itself.
type Health struct {
	Ready  bool          `json:"ready"`
	Checks []CheckResult `json:"checks"`
}

// CheckResult is how one Check went.
type CheckResult struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"` // why not
}

// Checks is all checks of a server. A server that hangs must still be able to say
// so: a check that does not return within the limit fails. It is left behind, and
// not started again until it does return.
type Checks struct {
	limit time.Duration
	all   []Check
	busy  []chan struct{} // of capacity 1, one a check: full while it runs
}

// NewChecks returns checks that have limit to return.
func NewChecks(limit time.Duration, all ...Check) *Checks {
	c := &Checks{limit: limit, all: all}
	for range all {
		c.busy = append(c.busy, make(chan struct{}, 1))
	}
	return c
}

// Run runs all checks at the same time.
func (c *Checks) Run(ctx context.Context) Health {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	h := Health{Ready: true, Checks: make([]CheckResult, len(c.all))}
	var running sync.WaitGroup
	for i := range c.all {
		running.Go(func() { h.Checks[i] = c.run(ctx, i) })
	}
	running.Wait()
	for _, result := range h.Checks {
		h.Ready = h.Ready && result.OK
	}
	return h
}

func (c *Checks) run(ctx context.Context, i int) CheckResult {
	result := CheckResult{Name: c.all[i].Name}
	if err := c.test(ctx, i); err != nil {
		result.Reason = err.Error()
	} else {
		result.OK = true
	}
	return result
}

// test waits for check i until ctx ends.
func (c *Checks) test(ctx context.Context, i int) error {
	late := fmt.Errorf("no answer within %s", c.limit)
	select {
	case c.busy[i] <- struct{}{}:
	case <-ctx.Done():
		return late
	}
	done := make(chan error, 1)
	go func() {
		err := c.all[i].Test(ctx)
		<-c.busy[i]
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return late
	}
}

// ServeHTTP answers with the Health as JSON, and status 503 if a check fails.
func (c *Checks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	health := c.Run(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !health.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(health) // the client may be gone
}

// AliveHandler answers that the process is there.
func AliveHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
}
