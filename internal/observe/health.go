package observe

import (
	"context"
	"encoding/json"
	"net/http"
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

// RunChecks runs all checks, one after another.
func RunChecks(ctx context.Context, checks []Check) Health {
	h := Health{Ready: true, Checks: []CheckResult{}}
	for _, c := range checks {
		result := CheckResult{Name: c.Name, OK: true}
		if err := c.Test(ctx); err != nil {
			result.OK, result.Reason, h.Ready = false, err.Error(), false
		}
		h.Checks = append(h.Checks, result)
	}
	return h
}

// ReadyHandler answers with the Health as JSON, and status 503 if a check fails.
func ReadyHandler(checks []Check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		health := RunChecks(r.Context(), checks)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !health.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(health) // the client may be gone
	})
}

// AliveHandler answers that the process is there.
func AliveHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
}
