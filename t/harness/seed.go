package harness

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

var seedFlag = flag.Uint64("seed", 0, "what random tests do; 0 for something new")

// NewSeed returns the seed of a random test, and says how to run the test with it again.
func NewSeed(t testing.TB) uint64 {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("to repeat: go test -count=1 ./t/%s -run '^%s$' -seed %d", filepath.Base(dir), t.Name(), seed)
	return seed
}

// NewRand returns numbers made of a seed.
func NewRand(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(NewSeed(t), 0))
}
