package fusefs

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestNamesKnowWhatTheKernelKnows: every node that was looked up more often than
// forgotten has its path, and nothing else takes memory.
func TestNamesKnowWhatTheKernelKnows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var n names
		paths := map[uint64]string{rootID: "/"} // of nodes that came into being
		lookups := map[uint64]int{rootID: 1 << 30}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			node := rapid.Uint64Range(rootID, uint64(len(paths))).Draw(t, "node")
			switch {
			case lookups[node] > 0 && rapid.Bool().Draw(t, "new"): // a child of node
				child := uint64(len(paths)) + 1
				name := fmt.Sprint("n", child)
				paths[child] = paths[node] + "/" + name
				if node == rootID {
					paths[child] = "/" + name
				}
				if got := n.path(node, name); got != paths[child] {
					t.Fatalf("before the lookup: %q, want %q", got, paths[child])
				}
				n.lookedUp(node, name, child)
				lookups[child] = 1
			case lookups[node] > 0 && node != rootID && rapid.Bool().Draw(t, "again"):
				n.lookedUp(rootID, "not used", node)
				lookups[node]++
			case lookups[node] > 0 && node != rootID:
				forget := rapid.IntRange(1, lookups[node]).Draw(t, "forget")
				n.forgot(node, uint64(forget))
				lookups[node] -= forget
			}
		}
		known := 0
		for node, count := range lookups {
			if count > 0 {
				known++
				if got := n.path(node, ""); got != paths[node] {
					t.Fatalf("node %d is %q, want %q", node, got, paths[node])
				}
			}
		}
		if len(n.nodes) != known-1 {
			t.Fatalf("%d nodes are kept, %d are known", len(n.nodes), known-1)
		}
	})
}
