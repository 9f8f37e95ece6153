package harness

import (
	"testing"
	"time"
)

// Patience is how long a state is waited for: much longer than it can take on a
// machine that has other things to do.
const Patience = time.Minute

// Until polls until ok returns true. It is for states of other processes that
// nothing tells about.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", Patience, what)
		}
	}
}
