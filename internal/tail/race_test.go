//go:build race

package tail

// defaultHistories is how many random histories are run: the race detector is slow.
const defaultHistories = 1200
