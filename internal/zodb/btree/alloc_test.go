//go:build !race

// The race detector makes pools forget things.

package btree

import "testing"

func TestBucketTakesThreeAllocations(t *testing.T) {
	data := bucket60()
	allocs := testing.AllocsPerRun(200, func() {
		if _, err := Decode(data); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 3 {
		t.Errorf("%v allocations", allocs)
	}
	n, _ := Decode(data)
	if got := n.MemSize(); got < 16*60 || got > 16*60+100 {
		t.Errorf("MemSize %d", got)
	}
}
